// Keeps the page as things are: after an event of the daemon, and once a minute, it is asked for again, and what is in
// <main> is replaced. Without this script a reload does the same.
"use strict";

(() => {
  const { events, names } = document.body.dataset;
  const news = document.getElementById("news");
  if (!events || !news) return;

  const SETTLE = 1200; // ms: events that come together are one reason to look, and the daemon counts once a second
  const PAUSE = 2000; // ms: between two looks
  const MINUTE = 60000; // what is left of a life is said in minutes
  const AGAIN = 15000; // ms: after the stream was refused

  let source = null;
  let timer = null;
  let lookedAt = 0;
  let isLooking = false;
  let isWanted = false;

  // What a thing in the page is, so that it is found again in the next one.
  const keyOf = (element) =>
    element.id || element.getAttribute("href") || (element.form && element.tagName + element.form.getAttribute("action"));

  const told = (root) =>
    new Map(Array.from(root.querySelectorAll("[data-oa]"), (part) => [part.dataset.oa, part.dataset.told]));

  const say = (before, after) => {
    const changed = [];
    for (const [oa, text] of after) if (before.get(oa) !== text) changed.push(text);
    if (changed.length === 0) return;
    news.textContent = changed.length <= 3 ? changed.join(". ") : news.dataset.many.replace("%", changed.length);
  };

  const replace = (page) => {
    const [here, next] = [document.getElementById("main"), page.getElementById("main")];
    if (!here || !next) return;
    const before = told(here);
    const focused = here.contains(document.activeElement) ? document.activeElement : null;
    const key = focused && focused !== here ? keyOf(focused) : null;
    const [x, y] = [window.scrollX, window.scrollY];
    here.replaceChildren(...Array.from(next.childNodes, (node) => document.adoptNode(node)));
    document.title = page.title;
    if (key) {
      const same = Array.from(here.querySelectorAll("a, button, summary, input")).find((part) => keyOf(part) === key);
      (same || here).focus({ preventScroll: true });
    }
    window.scrollTo(x, y);
    say(before, told(here));
  };

  const look = async () => {
    if (isLooking) {
      isWanted = true;
      return;
    }
    isLooking = true;
    try {
      const answer = await fetch(window.location.href, { credentials: "same-origin", cache: "no-store" });
      // Who is not signed in any more is sent to where he can be.
      if (answer.redirected) window.location.reload();
      else if (answer.ok) replace(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch {
      // The daemon is away; the stream comes back when it does.
    } finally {
      isLooking = false;
      lookedAt = Date.now();
      if (isWanted) {
        isWanted = false;
        soon();
      }
    }
  };

  const soon = () => {
    if (timer !== null) return;
    const wait = Math.max(SETTLE, lookedAt + PAUSE - Date.now());
    timer = setTimeout(() => {
      timer = null;
      look();
    }, wait);
  };

  const listen = () => {
    if (source) return;
    source = new EventSource(events);
    for (const name of names.split(" ")) source.addEventListener(name, soon);
    source.addEventListener("gap", soon);
    source.addEventListener("error", () => {
      if (!source || source.readyState !== EventSource.CLOSED) return;
      source = null;
      setTimeout(() => {
        if (!document.hidden) {
          listen();
          soon();
        }
      }, AGAIN);
    });
  };

  const rest = () => {
    if (source) source.close();
    source = null;
  };

  // Since the page was loaded the config has come to lead to consent elsewhere: the page is loaded with the leave to go there.
  document.addEventListener("securitypolicyviolation", (violation) => {
    if (violation.effectiveDirective === "form-action") window.location.reload();
  });

  // A page that nobody sees takes no connection: a browser has six of them to one server.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      rest();
    } else {
      listen();
      soon();
    }
  });
  window.addEventListener("pagehide", rest);
  window.addEventListener("pageshow", (shown) => {
    if (shown.persisted && !document.hidden) {
      listen();
      soon();
    }
  });
  setInterval(() => {
    if (!document.hidden) soon();
  }, MINUTE);
  if (!document.hidden) listen();
})();
