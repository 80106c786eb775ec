// Holds ../loki-rules.yml to the shape that Loki's ruler reads, and each of its expressions to LogQL's grammar.
//
// The grammar is the one of Grafana's query editor. It knows no meaning: it takes an unknown label and a sum over a
// log stream. What it does not take, Loki does not take either.

import { readFileSync } from "node:fs";
import { parser } from "@grafana/lezer-logql";
import { parse } from "yaml";

const DURATION = /^([0-9]+(ms|[smhdwy]))+$/;

/** The place of the first thing that is no LogQL, or -1. */
function firstError(expression) {
  let place = -1;
  parser.parse(expression).iterate({
    enter: (node) => {
      if (node.type.isError && place < 0) place = node.from;
    },
  });
  return place;
}

/** What is wrong with a rule. */
function* wrongs({ alert, expr, for: duration, labels, annotations, ...unknown }) {
  if (!/^[A-Z][A-Za-z]+$/.test(alert)) yield "no name";
  for (const key of Object.keys(unknown)) yield `${key} is no key of a rule`;
  if (duration !== undefined && !DURATION.test(duration)) yield `${duration} is no duration`;
  if (!["warning", "critical"].includes(labels?.severity)) yield "no severity";
  if (!annotations?.summary || !annotations?.action) yield "no summary, or nothing to do";
  if (typeof expr !== "string" || expr.trim() === "") return yield "no expression";
  const place = firstError(expr);
  if (place >= 0) yield `no LogQL from here on: ${expr.slice(place, place + 60)}`;
}

// A checker that takes everything finds nothing.
for (const broken of ["sum(", '{unit="a"} | json event=', 'sum by (a) (count_over_time({unit="a"} [5m])', "avg({a=}) > 0"]) {
  if (firstError(broken) < 0) throw new Error(`taken for LogQL: ${broken}`);
}

const { groups } = parse(readFileSync(new URL("../loki-rules.yml", import.meta.url), "utf8"));
const rules = groups.flatMap((group) => group.rules);
let failed = 0;
for (const rule of rules) {
  for (const wrong of wrongs(rule)) {
    failed += 1;
    console.error(`${rule.alert}: ${wrong}`);
  }
}
if (rules.length === 0) throw new Error("no rules");
if (new Set(rules.map((rule) => rule.alert)).size !== rules.length) throw new Error("a name stands twice");
console.log(`loki-rules.yml: ${rules.length} rules, ${failed} problems`);
process.exit(failed === 0 ? 0 : 1);
