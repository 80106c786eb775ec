// What a browser shows of the pages: each check says what holds, in the order of one person's day. Run by ./run.

import assert from "node:assert/strict";

import { HOSTILE, OAS, Stage, VENDOR_OA } from "./stage.mjs";
import { inspect, openBrowser, Visitor } from "./visitor.mjs";

const [program, place] = process.argv.slice(2);
const REFUSED = { spend: "no", answer: { custom: { status: 200, body: '{"error":-14014}' } } };

let failed = 0;
const check = async (what, act) => {
  try {
    await act();
    console.log(`ok ${what}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL ${what}\n  ${error.message.replaceAll("\n", "\n  ")}`);
  }
};

const browser = await openBrowser();
const stage = await Stage.start(program, place);
const owner = await Visitor.come(browser);
const { page } = owner;

/** Looks at the page that is open, which can be loaded again, in both languages. */
const inspectInBoth = async (visitor, name) => {
  for (const lang of ["en", "vi"]) {
    await visitor.read(lang);
    await visitor.page.reload();
    assert.equal(await visitor.page.locator("html").getAttribute("lang"), lang);
    await inspect(visitor.page, `${name}-${lang}`);
  }
};

/** The daemon says that consent was granted, and that all is well with the OA. */
const isScheduled = async (oa_id, from) => {
  await stage.event("consent.granted", { oa_id }, from);
  const { state, reauthorization } = await stage.status(oa_id);
  assert.deepEqual([state, reauthorization], ["scheduled", null]);
};

/** The page still is what it was when this was called. */
const markPage = async (somePage) => {
  await somePage.evaluate(() => (window.isTheSame = true));
  return async () => assert.ok(await somePage.evaluate(() => window.isTheSame), "the page was loaded again");
};

await check("who is not signed in is asked for a token, and is told of a wrong one", async () => {
  await owner.signIn(stage, "wrong");
  assert.match(await page.getByRole("alert").innerText(), /không đúng/);
  await inspect(page, "login-wrong-vi");
  await page.goto(stage.api);
  assert.match(page.url(), /\/login$/);
  await inspectInBoth(owner, "login");
});

await check("the list begins with the OAs that need a person", async () => {
  await stage.event("refresh_token.expiring", { oa_id: "103" });
  await owner.signIn(stage);
  await owner.row("101").waitFor();
  const sections = await page.locator("section").evaluateAll((all) =>
    all.map((section) => Array.from(section.querySelectorAll("tbody tr"), (row) => [row.dataset.oa, row.className])),
  );
  const [needing, others] = sections;
  assert.deepEqual(new Set(needing.map(([, kind]) => kind)), new Set(["needs"]));
  assert.deepEqual(others, [["101", "fine"], ["102", "fine"]]);
  assert.equal(needing[0][0], "103", "the one with a deadline is the most urgent");
});

await check("a reminder in the log has a link, and the page says what it is about", async () => {
  const { url, level } = await stage.event("refresh_token.expiring", { oa_id: "103" });
  assert.equal(level, "ERROR", "it is the last one");
  assert.ok(url.startsWith(`${stage.callback}?`), url);
  assert.match(await owner.row("103").innerText(), /Quyền sắp hết hạn[^]*Hiện OA không gửi được tin. Hạn cấp quyền lại: /);
  const called = await Visitor.come(browser);
  await called.page.goto(url);
  assert.match(await called.page.locator("main").innerText(), /Nhà sách Ánh Dương[^]*Nên làm trước/);
  await inspectInBoth(called, "offer");
  await called.leave();
});

await check("what Zalo refuses is on the page without a reload, and the log has a link", async () => {
  await owner.row("102").and(page.locator(".fine")).waitFor();
  const isSame = await markPage(page);
  const from = stage.now;
  await stage.fault("102", REFUSED);
  await assert.rejects(stage.command("refresh", "102"));
  const { url } = await stage.event("oa.reauthorization_required", { oa_id: "102" }, from);
  assert.ok(url.startsWith(`${stage.callback}?`), url);
  await owner.row("102").and(page.locator(".needs")).waitFor();
  await isSame();
  assert.match(await page.getByRole("status").innerText(), /Cà phê Sông Hồng: Cần cấp quyền lại/);
});

await check("the list fits everybody", () => inspectInBoth(owner, "list"));

await check("from the button over Zalo's page to an OA that is well, in the page as it is open", async () => {
  const besides = await owner.context.newPage();
  await besides.goto(stage.api);
  const row = besides.locator('tr[data-oa="102"]');
  await row.and(besides.locator(".needs")).waitFor();
  const isSame = await markPage(besides);
  const from = stage.now;
  await owner.row("102").getByRole("button").click();
  await page.waitForURL(/permission/);
  await inspect(page, "permission");
  await owner.decide("allow", "102");
  assert.equal(await owner.heading(), "Đã cấp quyền xong");
  assert.equal(await page.locator(".oa .name").innerText(), OAS[102]);
  await isScheduled("102", from);
  await inspect(page, "granted-vi");
  await row.and(besides.locator(".fine")).waitFor();
  await isSame();
  assert.match(await row.innerText(), /Hoạt động tốt/);
  const { clean, codes_spent } = await stage.ledger();
  assert.deepEqual({ clean, codes_spent }, { clean: true, codes_spent: 1 });
  await besides.close();
});

await check("a callback that is loaded again changes nothing", async () => {
  await page.reload();
  assert.equal(await owner.heading(), "Đã được cấp quyền từ trước");
  await inspectInBoth(owner, "again");
  assert.equal((await stage.ledger()).codes_spent, 1);
});

await check("the page of an OA has its history", async () => {
  await page.goto(stage.api);
  await owner.row("102").getByRole("link").click();
  await page.locator(".timeline li").first().waitFor();
  assert.equal(await page.locator("h1 .name").innerText(), OAS[102]);
  assert.match(await page.locator(".timeline").innerText(), /Đã cấp quyền[^]*Zalo không còn nhận quyền đã cấp/);
  await inspectInBoth(owner, "one");
});

await check("a signed link lets somebody without a session consent for one OA, once", async () => {
  const link = await stage.command("link", "107");
  const guest = await Visitor.come(browser, { locale: "en-GB" });
  const from = stage.now;
  await guest.page.goto(link);
  assert.equal(await guest.heading(), "Authorize the Official Account");
  await guest.page.getByRole("button").click();
  await guest.decide("allow", "107");
  assert.equal(await guest.heading(), "Authorized");
  await isScheduled("107", from);
  await inspect(guest.page, "granted-en");
  await guest.page.goto(link);
  assert.equal(await guest.heading(), "Authorized already");
  assert.equal(await guest.page.getByRole("button").count(), 0);
  await guest.page.goto(`${stage.api}/oas/107`);
  assert.match(guest.page.url(), /\/login\?oa=107$/);
  await guest.page.goto(link.slice(0, -1));
  assert.equal(await guest.heading(), "This link does not work");
  await inspectInBoth(guest, "link-invalid");
  await guest.leave();
});

await check("who declines, chooses another OA or brings what is not ours changes nothing", async () => {
  const link = await stage.command("link", "108");
  const guest = await Visitor.come(browser);
  const tries = [
    ["decline", undefined, "Chưa được đồng ý", "declined"],
    ["allow", "101", "Nhầm Official Account", "other-oa"],
  ];
  for (const [decision, oa, heading, name] of tries) {
    await guest.page.goto(link);
    await guest.page.getByRole("button").click();
    await guest.decide(decision, oa);
    assert.equal(await guest.heading(), heading);
    await inspectInBoth(guest, name);
  }
  await guest.page.goto(`${stage.callback}?oa_id=108&code=forged&state=forged`);
  assert.equal(await guest.heading(), "Không nhận ra địa chỉ này");
  await inspectInBoth(guest, "unknown-state");
  const { state, generation } = await stage.status("108");
  assert.deepEqual([state, generation], ["awaiting_grant", 0]);
  await guest.leave();
});

await check("a code that Zalo did not get is brought again by a click", async () => {
  const guest = await Visitor.come(browser);
  const from = stage.now;
  await guest.page.goto(await stage.command("link", "109"));
  await guest.page.getByRole("button").click();
  await guest.page.waitForURL(/permission/);
  await stage.cutNextRequest();
  await guest.decide("allow", "109");
  assert.equal(await guest.heading(), "Chưa liên lạc được với Zalo");
  await inspect(guest.page, "not-reached-vi");
  await guest.page.getByRole("link", { name: "Thử lại" }).click();
  await guest.page.getByRole("heading", { name: "Đã cấp quyền xong" }).waitFor();
  await isScheduled("109", from);
  await guest.leave();
});

await check("an OA of a vendor: from the button over his page to an OA that is well", async () => {
  await page.goto(stage.api);
  const from = stage.now;
  await stage.holdAtVendor();
  const { url } = await stage.event("oa.reauthorization_required", { oa_id: VENDOR_OA }, from);
  assert.equal(url, `${stage.vendor}/vendor/consent/${VENDOR_OA}`);
  const besides = await owner.context.newPage();
  await besides.goto(stage.api);
  const row = besides.locator(`tr[data-oa="${VENDOR_OA}"]`);
  await row.and(besides.locator(".needs")).waitFor();
  const isSame = await markPage(besides);
  // The page is older than the config that leads there: its policy forbids it, it is loaded anew, and then goes there.
  await markPage(page);
  owner.mayComplain = true;
  await owner.row(VENDOR_OA).getByRole("button").click();
  await page.waitForFunction(() => !window.isTheSame);
  owner.mayComplain = false;
  await owner.row(VENDOR_OA).getByRole("button").click();
  await page.waitForURL(url);
  await inspect(page, "vendor");
  await page.getByRole("button").click();
  await page.getByRole("status").waitFor();
  await stage.event("oa.authorized", { oa_id: VENDOR_OA, by: "vendor" }, from);
  assert.equal((await stage.status(VENDOR_OA)).state, "scheduled");
  await row.and(besides.locator(".fine")).waitFor();
  await isSame();
  await besides.close();
});

await check("the language is the browser's, until another is chosen", async () => {
  for (const [locale, lang] of [["en-US", "en"], ["vi-VN", "vi"], ["fr-FR", "vi"]]) {
    const visitor = await Visitor.come(browser, { locale });
    const html = visitor.page.locator("html");
    await visitor.page.goto(stage.api);
    assert.equal(await html.getAttribute("lang"), lang, locale);
    const other = lang === "vi" ? "en" : "vi";
    await visitor.page.locator("header nav a").click();
    assert.equal(await html.getAttribute("lang"), other);
    await visitor.signIn(stage);
    await visitor.row("101").waitFor();
    assert.equal(await html.getAttribute("lang"), other, "the choice is kept");
    await visitor.leave();
  }
});

await check("a keyboard is enough, and shows where it is", async () => {
  const typist = await Visitor.come(browser);
  const { keyboard } = typist.page;
  /** Tab until this has the focus; whatever has it meanwhile is seen to have it. */
  const tabTo = async (locator) => {
    for (let step = 0; step < 60; step += 1) {
      await keyboard.press("Tab");
      const focus = await typist.page.evaluate(() => {
        const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
        const { left, top, right, bottom } = document.activeElement.getBoundingClientRect();
        const isInside = left >= 0 && top >= 0 && right <= window.innerWidth && bottom <= window.innerHeight;
        return { what: document.activeElement.outerHTML, isInside, isOutlined: outlineStyle !== "none" && parseInt(outlineWidth) >= 2 };
      });
      assert.ok(focus.isInside && focus.isOutlined, JSON.stringify(focus));
      if (await locator.evaluate((element) => element === document.activeElement)) return step;
    }
    return assert.fail("it is not reached");
  };
  await typist.page.goto(stage.api);
  await tabTo(typist.page.locator("#token"));
  await keyboard.type(stage.token);
  await keyboard.press("Enter");
  await typist.row("105").waitFor();
  assert.equal(await tabTo(typist.page.locator(".skip")), 0, "the way past the header comes first");
  await keyboard.press("Enter");
  await typist.page.waitForFunction(() => document.activeElement.id === "main");
  await tabTo(typist.row("105").getByRole("button"));
  const from = stage.now;
  await keyboard.press("Enter");
  await typist.decide("allow", "105");
  await isScheduled("105", from);
  await typist.leave();
});

await check("without a script the same works by a reload", async () => {
  const plain = await Visitor.come(browser, { javaScriptEnabled: false });
  const from = stage.now;
  await plain.signIn(stage);
  await plain.row("106").getByRole("button").click();
  await plain.decide("allow", "106");
  assert.equal(await plain.heading(), "Đã cấp quyền xong");
  await isScheduled("106", from);
  await plain.page.goto(stage.api);
  await plain.row("106").and(plain.page.locator(".fine")).waitFor();
  await plain.leave();
});

await check("who may only read his own OA sees that one, and no button", async () => {
  const reader = await Visitor.come(browser);
  await reader.signIn(stage, stage.readersToken);
  await reader.row("104").waitFor();
  assert.equal(await reader.page.locator("tbody tr").count(), 1);
  assert.equal(await reader.page.locator("main button").count(), 0);
  assert.match(await reader.row("104").innerText(), /nhờ người quản trị/);
  await reader.page.goto(`${stage.api}/oas/101`);
  assert.equal(await reader.heading(), "Bạn không có quyền này");
  await inspectInBoth(reader, "not-allowed");
  await reader.leave();
});

await check("a name is text, whatever is in it", async () => {
  for (const [oa, name] of Object.entries(HOSTILE)) {
    for (const address of ["/", `/oas/${oa}`]) {
      await page.goto(stage.api + address);
      const shown = await page.locator(`[data-oa="${oa}"] .name, h1 .name`).first().textContent();
      assert.equal(shown, name.replace("\u202E", "\uFFFD"));
      assert.equal(await page.locator("main script, main img, main h1 h1").count(), 0);
      assert.equal(await page.evaluate("window.hostile"), undefined);
    }
  }
});

await check("what is brought into a page does not run, ask elsewhere or frame anything", async () => {
  const victim = await Visitor.come(browser);
  victim.mayComplain = true;
  await victim.signIn(stage);
  await victim.row("101").waitFor();
  /** What the policy says to this. */
  const forbids = (act) =>
    victim.page.evaluate(
      ([source, where]) =>
        new Promise((resolve, reject) => {
          const told = ({ effectiveDirective }) => resolve(effectiveDirective);
          document.addEventListener("securitypolicyviolation", told, { once: true });
          setTimeout(() => reject(new Error(`nothing forbids ${source}`)), 5000);
          new Map([
            ["script", () => document.body.append(Object.assign(document.createElement("script"), { textContent: "window.ran = true" }))],
            ["style", () => document.body.append(Object.assign(document.createElement("style"), { textContent: "main { display: none }" }))],
            ["fetch", () => fetch(where).catch(() => undefined)],
            ["frame", () => document.body.append(Object.assign(document.createElement("iframe"), { src: where }))],
            ["base", () => document.head.append(Object.assign(document.createElement("base"), { href: where }))],
          ]).get(source)();
        }),
      [act, `${stage.simulator}/elsewhere`],
    );
  assert.equal(await forbids("script"), "script-src-elem");
  assert.equal(await victim.page.evaluate("window.ran"), undefined);
  assert.equal(await forbids("style"), "style-src-elem");
  assert.equal(await forbids("fetch"), "connect-src");
  assert.equal(await forbids("frame"), "frame-src");
  assert.equal(await forbids("base"), "base-uri");
  await victim.leave();
});

await check("the one who signs out is out", async () => {
  await page.goto(stage.api);
  await page.locator('form[action="/logout"] button').click();
  await page.waitForURL(/\/login/);
  await page.goto(`${stage.api}/oas/101`);
  assert.match(page.url(), /\/login\?oa=101$/);
});

await owner.leave();
await browser.close();

await check("no browser had anything to complain of, or asked another server for anything", () => {
  assert.deepEqual(Visitor.complaints, []);
  const asked = new Set(Visitor.requests.map((url) => new URL(url).origin));
  assert.deepEqual([...asked].sort(), [stage.api, stage.desk, stage.simulator, stage.vendor].sort());
});

await check("no token, code, state or link came into the log, but for the links that call a person", () => {
  const log = stage.daemon.lines.join("\n");
  const parts = Visitor.requests.flatMap((url) => ["code", "state"].map((name) => new URL(url).searchParams.get(name)));
  const secrets = new Set([stage.token, stage.readersToken, ...parts].filter((secret) => secret && secret !== "forged"));
  assert.ok(secrets.size > 10);
  for (const secret of secrets) assert.ok(!log.includes(secret), `${secret} is in the log`);
});

await check("the ledger is clean, and each code was spent once", async () => {
  const { clean, codes_spent, codes_presented_again } = await stage.ledger();
  assert.deepEqual({ clean, codes_spent, codes_presented_again }, { clean: true, codes_spent: 5, codes_presented_again: [] });
});

await check("the daemon ends well", async () => {
  assert.equal(await stage.end(), 0);
  assert.ok(!stage.daemon.lines.some((line) => line.includes("program.panicked")));
});

process.exit(failed === 0 ? 0 : 1);
