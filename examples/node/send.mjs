// Sends each line of stdin as a message of an Official Account: node send.mjs OA_ID USER_ID < lines (Node 18 or later)
import http from "node:http";
import readline from "node:readline";

const socketPath = process.env.ZALO_TOKEND_SOCKET ?? "/run/zalo-tokend/api.sock";
const zalo = process.env.ZALO_API ?? "https://openapi.zalo.me";
const dead = [-216, -220, -124]; // so Zalo says that it does not take the access token
const [oa, user] = process.argv.slice(2);

/** The access token that zalo-tokend has, with its generation. */
const keeper = (method, path, body) => new Promise((resolve, reject) => {
    const options = { socketPath, method, path: `/v1/oas/${oa}/${path}`, timeout: 120_000 };
    const request = http.request(options, async (response) => {
        let text = "";
        for await (const part of response.setEncoding("utf8")) text += part;
        const token = JSON.parse(text);
        if (response.statusCode !== 200) return reject(new Error(token.detail));
        resolve({ ...token, until: performance.now() + token.expires_in * 1000 });
    });
    request.on("timeout", () => request.destroy(new Error("zalo-tokend does not answer")));
    request.on("error", reject).end(body && JSON.stringify(body));
});

const send = async ({ access_token }, text) => {
    const headers = { access_token, "Content-Type": "application/json" };
    const body = JSON.stringify({ recipient: { user_id: user }, message: { text } });
    return (await fetch(`${zalo}/v3.0/oa/message/cs`, { method: "POST", headers, body })).json();
};

let token = await keeper("GET", "token");
for await (const line of readline.createInterface({ input: process.stdin })) {
    if (performance.now() > token.until) token = await keeper("GET", "token");
    let answer = await send(token, line);
    if (dead.includes(answer.error)) {
        token = await keeper("POST", "token/reject", { generation: token.generation, error: answer.error });
        answer = await send(token, line);
    }
    console.log(answer.error === 0 ? "sent" : `not sent: ${answer.message}`);
}
