// Somebody with a browser of his own: what he asked for and what his browser complained of is written down, and a page that
// he looks at is held to what every page has to be.

import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

import { chromium } from "playwright-core";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const SCHEMES = ["light", "dark"];
/** A small phone, where only the width is looked at; a phone; a desktop. */
const WIDTHS = [320, 375, 1280];
const PATIENCE = 20_000; // ms: less than the minute after which a page looks by itself

const FLAGS = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

/** A new Chromium, with a profile that is thrown away. */
export function openBrowser() {
  return chromium.launch({ executablePath: process.env.CHROMIUM, args: FLAGS, chromiumSandbox: false });
}

export class Visitor {
  /** What all of them asked for. */
  static requests = [];
  /** What their browsers complained of. */
  static complaints = [];

  static async come(browser, { locale = "vi-VN", ...options } = {}) {
    const visitor = new Visitor();
    visitor.context = await browser.newContext({ locale, reducedMotion: "reduce", ...options });
    visitor.context.setDefaultTimeout(PATIENCE);
    visitor.context.on("request", (request) => Visitor.requests.push(request.url()));
    // That a page has a status of an error is said of each such page; of what a page is made of it is a fault.
    const pages = new Set();
    visitor.context.on("request", (request) => request.isNavigationRequest() && pages.add(request.url()));
    visitor.context.on("console", (message) => {
      const isOfPage = message.text().startsWith("Failed to load resource") && pages.has(message.location().url);
      if (["error", "warning"].includes(message.type()) && !isOfPage) visitor.complain(message.text());
    });
    visitor.context.on("weberror", (error) => visitor.complain(error.error().message));
    visitor.page = await visitor.context.newPage();
    return visitor;
  }

  complain(text) {
    if (!this.mayComplain) Visitor.complaints.push(`${this.page.url()}: ${text}`);
  }

  /** Shows a token at the door. */
  async signIn(stage, token = stage.token) {
    await this.page.goto(stage.api);
    await this.page.locator("#token").fill(token);
    await this.page.locator("main button").click();
  }

  row(oa) {
    return this.page.locator(`tr[data-oa="${oa}"]`);
  }

  heading() {
    return this.page.locator("h1").innerText();
  }

  /** Allows or declines on Zalo's page, for this OA. */
  async decide(decision, oa) {
    const { page } = this;
    await page.waitForURL(/\/v4\/oa\/permission/);
    if (oa) await page.locator(`input[name="oa_id"][value="${oa}"]`).check();
    await page.locator(`button[value="${decision}"]`).click();
    await page.waitForURL(/\/zalo\/callback/);
  }

  /** Reads this language from now on. */
  read(lang) {
    return this.context.addCookies([{ name: "lang", value: lang, domain: "127.0.0.1", path: "/" }]);
  }

  leave() {
    return this.context.close();
  }
}

/** What is wrong with the page for those who see it, on every width and in both schemes. Leaves pictures of it. */
export async function inspect(page, name) {
  const wrongs = [];
  const before = page.viewportSize();
  for (const colorScheme of SCHEMES) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    for (const width of WIDTHS) {
      await page.setViewportSize({ width, height: 800 });
      const at = `${name}, ${width} px, ${colorScheme}`;
      const over = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      if (over > 0) wrongs.push(`${at}: ${over} px too wide`);
      if (width === WIDTHS[0]) continue;
      for (const violation of await violations(page)) wrongs.push(`${at}: ${violation}`);
      await picture(page, `${name}-${width}-${colorScheme}`);
    }
  }
  await page.emulateMedia({ colorScheme: null, reducedMotion: "reduce" });
  await page.setViewportSize(before);
  if (wrongs.length > 0) throw new Error(wrongs.join("\n"));
}

async function violations(page) {
  // Outside of the page's own rights, so that its policy stays as it is.
  if (!(await page.evaluate("typeof axe === 'object'"))) await page.evaluate(AXE);
  const found = await page.evaluate(async () => {
    const { violations, passes } = await axe.run(document, { preload: false, resultTypes: ["violations"] });
    const where = (nodes) => nodes.map((node) => `${node.target.join(" ")} (${node.failureSummary})`).join("; ");
    return { passed: passes.length, violations: violations.map(({ id, help, nodes }) => `${id}: ${help}: ${where(nodes)}`) };
  });
  if (found.passed === 0) throw new Error("axe found nothing to judge");
  return found.violations;
}

async function picture(page, name) {
  const folder = process.env.SCREENSHOTS;
  if (!folder) return;
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
}
