// The stage: a simulator, a daemon with OAs in many states beside it, and what they say, to wait for.

import { execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

const PATIENCE = 30_000; // ms: for what comes within a second where nothing is wrong

/** The names of OAs that want to be more than text, as TOML and HTML could mistake them. */
export const HOSTILE = {
  201: "<script>window.hostile = 1</script>",
  202: "\"><img src=x onerror='window.hostile = 1'>",
  203: "</title></main><h1>\u202EBánh mì &amp; cà phê</h1>",
};
const LONG = `Công ty trách nhiệm hữu hạn ${"thươngmạidịchvụ".repeat(6)}`;

export const OAS = {
  101: "Tiệm hoa Ban Mai",
  102: "Cà phê Sông Hồng",
  103: "Nhà sách Ánh Dương",
  104: "Bánh mì Hội An",
  105: "Trà sữa Đà Lạt",
  106: "Phở Thìn",
  107: "Nón lá Huế",
  108: "Gốm Bát Tràng",
  109: "Lụa Vạn Phúc",
  ...HOSTILE,
  204: LONG,
};
/** Held by the vendor. */
export const VENDOR_OA = "301";

/** A process whose lines can be waited for. */
class Talker {
  #lines = [];
  #waiting = new Set();

  constructor(program, args, stream) {
    this.process = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
    // Whatever ends this program ends what it started.
    process.once("exit", () => this.process.kill("SIGKILL"));
    this.ended = new Promise((resolve) => this.process.once("exit", (code, signal) => resolve(code ?? signal)));
    for (const name of ["stdout", "stderr"]) {
      createInterface({ input: this.process[name] }).on("line", (line) => {
        if (name !== stream) return console.error(line);
        this.#lines.push(line);
        for (const look of this.#waiting) look();
      });
    }
  }

  get lines() {
    return this.#lines;
  }

  /** What `find` makes of the first line, from the one of this number on, that it makes anything of. */
  line(what, find, from = 0) {
    let next = from;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => done(reject, new Error(`there was no ${what}; the last lines:\n${this.#lines.slice(-5).join("\n")}`)), PATIENCE);
      const done = (settle, value) => {
        clearTimeout(timer);
        this.#waiting.delete(look);
        settle(value);
      };
      const look = () => {
        for (; next < this.#lines.length; next += 1) {
          const found = find(this.#lines[next]);
          if (found) return done(resolve, found);
        }
      };
      this.#waiting.add(look);
      look();
    });
  }

  async stop() {
    this.process.kill("SIGTERM");
    return this.ended;
  }
}

const parsed = (line) => (line.startsWith("{") ? JSON.parse(line) : {});
const ago = (days) => new Date(Date.now() - days * 86_400_000).toISOString();
const toml = (text) => JSON.stringify(text);

export class Stage {
  /** Starts everything, with what it needs in this folder. */
  static async start(program, place) {
    const stage = new Stage();
    Object.assign(stage, { program, place, config: join(place, "config.toml") });
    stage.token = randomBytes(32).toString("hex");
    stage.readersToken = randomBytes(32).toString("hex");
    const secrets = { "app.secret": "secret", "vendor.key": "key", token: stage.token, readers: stage.readersToken };
    for (const [name, text] of Object.entries(secrets)) writeFileSync(join(place, name), text, { mode: 0o600 });
    stage.zalo = new Talker(program, ["simulate", "--listen", "127.0.0.1:0"], "stdout");
    stage.simulator = await stage.zalo.line("address", (line) => /curl (\S+)\/_simulator\/ledger\.txt/.exec(line)?.[1]);
    stage.vendor = await stage.zalo.line("vendor", (line) => /^# vendor: base_url = "(.+)"$/.exec(line)?.[1]);
    await stage.#people();
    // Nobody knows yet where people come back to: the system chooses the port.
    stage.#configure("http://127.0.0.1:1/zalo/callback", []);
    stage.daemon = new Talker(program, ["--config", stage.config, "run"], "stderr");
    stage.api = `http://${(await stage.event("api.listening")).address}`;
    stage.desk = `http://${(await stage.event("authorize.listening")).address}`;
    stage.callback = `${stage.desk}/zalo/callback`;
    await stage.#tell("apps", { app_id: "1", secret_key: "secret", redirect_uris: [stage.callback] });
    await stage.#reload();
    await stage.#grants();
    return stage;
  }

  #ofVendor = "";

  async #people() {
    await this.#tell("apps", { app_id: "1", secret_key: "secret" });
    for (const oa_id of Object.keys(OAS)) await this.#tell("administered", { app_id: "1", oa_id });
    await this.#send("PUT", "variant", { vendor_link_base: this.vendor });
    await this.#tell("vendor/keys", { key: "key" });
    await this.#tell("vendor/oas", { oa_id: VENDOR_OA, name: "Nước mắm Phú Quốc", expires_at: ago(-5) });
  }

  /** 101 is well, 102 is well as long as nothing is done about it, and 103 is near its end and not renewed. */
  async #grants() {
    await this.fault("103", { spend: "no", answer: { custom: { status: 429, body: "{}" } } }, "forever");
    for (const [oa_id, days] of [["101", 0.2], ["102", 0.1], ["103", 89.5]]) {
      const answer = await this.#tell("grants", { app_id: "1", oa_id, age: `${Math.round(days * 86_400)}s` });
      writeFileSync(join(this.place, "answer"), answer, { mode: 0o600 });
      await this.command("import", oa_id, "--file", join(this.place, "answer"), "--obtained-at", ago(days));
    }
  }

  #configure(callback, oas) {
    writeFileSync(
      this.config,
      `[store]
path = "state/tokens.db"
[log]
format = "json"
[refresh]
# What is put off is put off for longer than all of this takes: nothing changes unasked.
retry_first = "1h"
retry_max = "1h"
settle = "300ms"
[schedule]
audit = "* * * * * *"
[api]
socket = "api.sock"
listen = "127.0.0.1:0"
[authorize]
listen = "127.0.0.1:0"
[[access]]
token_file = "token"
oas = ["*"]
verbs = ["read", "report", "admin"]
[[access]]
token_file = "readers"
oas = ["104"]
verbs = ["read"]
[[app]]
id = "1"
secret_key_file = "app.secret"
token_url = "${this.simulator}/v4/oa/access_token"
api_url = "${this.vendor}"
permission_url = "${this.simulator}/v4/oa/permission"
redirect_uri = "${callback}"
${this.#ofVendor}${oas.map(([id, name]) => `[[oa]]\nid = "${id}"\napp = "1"\nname = ${toml(name)}\n`).join("")}`,
    );
  }

  /** From now on there is a vendor, who holds an OA. */
  async holdAtVendor() {
    this.#ofVendor = `[[vendor]]
id = "vendor"
base_url = "${this.vendor}"
api_key_file = "vendor.key"
[[oa]]
id = "${VENDOR_OA}"
vendor = "vendor"
name = "Nước mắm Phú Quốc"
`;
    await this.#reload();
  }

  async #reload() {
    const from = this.now;
    this.#configure(this.callback, Object.entries(OAS));
    this.daemon.process.kill("SIGHUP");
    await this.event("config.reloaded", {}, from);
  }

  /** How much was logged by now. */
  get now() {
    return this.daemon.lines.length;
  }

  /** The first event of this name with these fields that is logged from then on. */
  event(name, fields = {}, from = 0) {
    const wanted = Object.entries({ event: name, ...fields });
    return this.daemon.line(`event ${name} ${JSON.stringify(fields)}`, (line) => {
      const event = parsed(line);
      return wanted.every(([key, value]) => event[key] === value) && event;
    }, from);
  }

  /** What a command of the program prints. Fails if the command does. */
  async command(...args) {
    const { stdout } = await promisify(execFile)(this.program, ["--config", this.config, ...args]);
    return stdout.trim();
  }

  /** How the daemon says that an OA stands. */
  async status(oa_id) {
    const { oas } = JSON.parse(await this.command("status", "--json"));
    return oas.find((oa) => oa.oa_id === oa_id);
  }

  /** This happens to the next request with a token or code of this OA. */
  fault(oa_id, after_request, times = 1) {
    return this.#tell("faults", { oa_id, times, fault: { after_request } });
  }

  /** The next request with a token or code is cut off before it is whole. */
  cutNextRequest() {
    return this.#tell("faults", { fault: "reset_before_last_byte" });
  }

  async ledger() {
    return JSON.parse(await this.#send("GET", "ledger"));
  }

  #tell(what, body) {
    return this.#send("POST", what, body);
  }

  async #send(method, what, body) {
    const answer = await fetch(`${this.simulator}/_simulator/${what}`, { method, body: body && JSON.stringify(body) });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${what}: ${text}`);
    return text;
  }

  /** Ends the processes that were started, and says how the daemon ended. */
  async end() {
    const ended = await this.daemon?.stop();
    await this.zalo?.stop();
    return ended;
  }
}
