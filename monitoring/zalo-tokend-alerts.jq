# Reads the log of zalo-tokend as raw lines (jq -nRr) and says what somebody has to know.
#
# One pass: each line is folded into a small state, which holds what is open at that moment, by subject ("oa 123",
# "app 456", "vendor x", "daemon") and kind; nothing else of a line is kept. An alert is a thing that is still open at the end,
# if it has been for long enough at $now.
#
# In:  $now              seconds since 1970
#      $heartbeat_within, $uncertain_for, $failing_for, $many_failing_for, $braked_for, $error_window    seconds
#      $failing_percent, $failing_least    how many OAs of the fleet must fail at once
# Out: lines that begin with "A<tab>" (an alert: severity, name, subject, since, what to do) or "M<tab>" (a metric)
#
# For jq 1.6 and later. Times are cut to seconds, because jq reads no fractions; they are compared as text where
# that does, because reading them costs more than all the rest.

# ---- what is opened, and what ends it ----------------------------------------------------------------------------

# A set that a person brought in, a refresh that came through, a decision, a consent to a vendor: after these an OA goes on.
def mended: ["oa.imported", "refresh.succeeded", "oa.resolved", "oa.authorized"];

# Kind of what is open → the events of the same subject that end it. What is not in here ends by itself, when
# nothing was said of it for $error_window.
def endings: {
  "oa.reauthorization_required": mended,
  "oa.decision_needed": (mended + ["oa.reauthorization_required"]),
  "oa.unreadable": mended,
  "oa.app_changed": (mended + ["refresh.planned", "refresh.started"]),
  "access_token.expired": mended,
  "refresh_token.expiring": ["oa.imported", "refresh.succeeded", "oa.authorized"],
  "app.refused": ["app.released"],
  "app.braked": ["app.released"],
  "vendor.refused": ["vendor.released"],
  "vendor.misconfigured": ["vendor.link_fetched", "oa.authorized"],
  "api.unavailable": ["api.listening", "daemon.started"],
  "authorize.unavailable": ["authorize.listening", "daemon.started"],
  "consent.failed": mended,
  "store.failed": ["store.recovered", "daemon.ready"],
  "config.rejected": ["config.reloaded", "daemon.ready"],
  "uncertain": (mended + ["oa.reauthorization_required"]),
  "failing": ["refresh.succeeded", "oa.imported", "oa.reauthorization_required"]
} | map_values(map({key: ., value: true}) | from_entries);

def seconds: if type == "string" then (.[0:19] + "Z" | try fromdateiso8601 catch null) else null end;

def subject:
  if .oa_id != null then "oa \(.oa_id)" elif .app_id != null then "app \(.app_id)"
  elif .vendor != null then "vendor \(.vendor)" else "daemon" end;

# The kinds that a line opens. An OA that fails and one whose fate is unknown both go without a new token: what goes
# back and forth between the two is "failing" all the while.
def opened:
  if .event == "refresh.uncertain" then "uncertain", "failing"
  elif .event == "refresh.failed" then "failing"
  elif .event == "refresh_token.expiring" or .event == "app.braked" then .event
  elif .level == "ERROR" then .event // "unnamed"
  else empty end;

# Only a verdict that decides something ends the doubt.
def decides: .event == "refresh.probed" and (.verdict == "unspent" or .verdict == "spent");

# ---- one line ----------------------------------------------------------------------------------------------------

# Ends what this line ends of its subject. Most lines are of subjects of which nothing is open.
def end_by($line; $subject; $endings):
  .open[$subject] as $kinds
  | if $kinds == null then .
    else
      ($kinds | with_entries(select(
        ($endings[.key][$line.event] or (.key == "uncertain" and ($line | decides))) | not
      ))) as $left
      | if $left == $kinds then .
        elif $left == {} then delpaths([["open", $subject]])
        else setpath(["open", $subject]; $left) end
    end;

# What was open before goes on: its beginning stays, its words are the newest.
def open_by($line; $subject):
  reduce ($line | opened) as $kind (.;
    (.open[$subject][$kind].since // $line.timestamp) as $since
    | setpath(["open", $subject, $kind]; {since: $since, last: $line.timestamp, line: $line}));

# A minute is more than the daemon takes from counting its OAs to saying it: what was opened in it may be missing
# in the counts.
def before_counting($heartbeat): (.last | seconds) + 60 < ($heartbeat.timestamp | seconds);

# A heartbeat that counts none of a state ends what the log still has of it: its end was in a dropped line, or the
# OA is no longer in the config.
def end_uncounted($heartbeat):
  [ (if $heartbeat.uncertain == 0 then "uncertain" else empty end),
    (if $heartbeat.reauthorization_required == 0 then "oa.reauthorization_required" else empty end),
    (if $heartbeat.blocked == 0 then "app.refused", "vendor.refused" else empty end),
    (if [$heartbeat | .retrying, .presenting, .uncertain, .blocked] == [0, 0, 0, 0] then "failing" else empty end)
  ] as $over
  | if .open == {} or $over == [] then .
    else .open |= with_entries(
        .value |= with_entries(select(.key as $kind
          | (($over | index($kind)) != null and (.value | before_counting($heartbeat))) | not))
        | select(.value != {}))
    end;

# The counter begins anew with each start, also with one whose line was dropped.
def note_dropped($heartbeat):
  ($heartbeat.lines_dropped // 0) as $now
  | .dropped.total as $before
  | .dropped = {total: $now, grown: (if $now >= $before then $now - $before else $now end)};

# How many OAs are uncertain by the heartbeat beyond those that the log tells of; since when that is so.
def note_unexplained($heartbeat):
  ($heartbeat.uncertain // 0) as $counted
  | ([.open[] | select(has("uncertain"))] | length) as $known
  | if $counted > $known
    then .unexplained = {count: ($counted - $known), since: (.unexplained.since // $heartbeat.timestamp)}
    else .unexplained = null end;

# A decision about an OA of whose doubt this log does not tell: one of those that a heartbeat counted.
def end_unexplained($line; $subject):
  if .unexplained != null and .open[$subject].uncertain == null
    and ($line.event == "oa.resolved" or ($line | decides))
  then .unexplained.count -= 1 | if .unexplained.count <= 0 then .unexplained = null else . end
  else . end;

def fold_telling($line; $subject; $endings):
  end_unexplained($line; $subject)
  | end_by($line; $subject; $endings)
  | open_by($line; $subject)
  | if $line.event == "fleet.heartbeat" then
      note_dropped($line) | end_uncounted($line) | note_unexplained($line) | .heartbeat = $line | .ready = null
    elif $line.event == "daemon.started" then
      # The counter is new. What the start finds wrong about an OA's app it says again.
      .dropped.total = 0
      | .open |= with_entries(.value |= del(.["oa.app_changed"]) | select(.value != {}))
    elif $line.event == "daemon.ready" then
      # The first one: a daemon that starts over and over and never comes to a heartbeat is not alive.
      .ready = (.ready // $line) | .oas_at_start = $line.oas
    else . end;

# What is looked at even if nothing is open of its subject and its level is INFO.
def telling: {"fleet.heartbeat": true, "daemon.started": true, "daemon.ready": true, "refresh.probed": true, "oa.resolved": true};

# Of a line that no rule understands nothing is believed. jq 1.6 would come through one with an odd event all the
# same, because its `try` also catches what fails behind it; later ones would not.
def is_line: type == "object" and (.timestamp | type) == "string" and (.event // "" | type) == "string";

# The everyday line, and nine of ten are, costs as little as can be: no assignment, which is slow in jq 1.6.
def read_log:
  endings as $endings | telling as $telling
  | reduce inputs as $raw (
      {open: {}, heartbeat: null, ready: null, oas_at_start: 0, unexplained: null, dropped: {total: 0, grown: 0}};
      ($raw | try fromjson catch null) as $line
      | if $line | is_line then
          ($line | subject) as $subject
          | if $line.level != "INFO" or .open[$subject] != null or $telling[$line.event // ""] then
              fold_telling($line; $subject; $endings)
            else . end
        else . end);

# ---- what it comes to --------------------------------------------------------------------------------------------

# A log says what it likes: one alert stays one line.
def one_line: [tostring | explode[] | if . < 32 or . == 127 then 32 else . end] | implode;

def open_of($kind): .open | to_entries[] | select(.value[$kind]) | {subject: .key} + .value[$kind];

def for_seconds($now): (.since | seconds) as $since | if $since == null then $now else $now - $since end;

def fleet:
  if .heartbeat == null then .oas_at_start
  else .heartbeat | [.scheduled, .retrying, .presenting, .uncertain, .reauthorization_required, .blocked] | add
  end;

# Since the last heartbeat, or since the first start after it.
def sign_of_life: (.ready // .heartbeat // {}) | .timestamp;

# Errors that are open, without those that have an alert of their own.
def errors($endings):
  .open | to_entries[] | .key as $subject | .value | to_entries[] | .key as $event
  | select(["uncertain", "failing", "refresh_token.expiring", "app.braked"] | index($event) | not)
  | select($endings[$event] != null or ((.value.last | seconds) // $now) + $error_window >= $now)
  | {subject: $subject, event: $event} + .value;

def failing_now: [open_of("failing") | select(for_seconds($now) >= $many_failing_for)];

def are_many($count): $count >= $failing_least and $count * 100 >= $failing_percent * fleet;

def alert($severity; $name; $subject; $since; $what):
  "A\t" + ([$severity, $name, $subject, (if $since == null then "since ever" else "since \($since[0:19])Z" end), $what] | map(one_line) | join("\t"));

def count_alert($severity; $name; $count; $what):
  if ($count // 0) > 0 then alert($severity; $name; "fleet"; .heartbeat.timestamp; "\($count) \($what)") else empty end;

def alerts($endings):
  (errors($endings) | alert("critical"; "error"; .subject; .since;
    .event + ([.line | .reason, .detail, .problems] | map(select(. != null) | " (\(.))") | add // "")
    + ": " + (.line.message // "see the log"))),

  (sign_of_life as $since
    | if $since == null or ($since | seconds) + $heartbeat_within < $now
      then alert("critical"; "heartbeat_missing"; "daemon"; $since;
        if $since != null then "no heartbeat came: is the daemon running? systemctl status, then its log"
        else "the log has neither a heartbeat nor a start: does the daemon run, and is its [log] format json?" end)
      else empty end),

  (open_of("uncertain") | select(for_seconds($now) > $uncertain_for)
    | alert("warning"; "oa_uncertain"; .subject; .since;
      "nobody knows yet whether its refresh token was spent; see that Zalo can be reached, and zalo-tokend status")),
  (.unexplained | select(. != null and for_seconds($now) > $uncertain_for)
    | alert("warning"; "oa_uncertain"; "fleet"; .since;
      "\(.count) OAs are uncertain of which this log does not tell; see zalo-tokend status")),

  (open_of("refresh_token.expiring")
    | alert(if .line.level == "ERROR" then "critical" else "warning" end; "refresh_token_expiring"; .subject; .since;
      "its refresh token ends in \(.line.remaining); find out why it is not refreshed, and grant consent again")),

  (open_of("failing") | select(for_seconds($now) > $failing_for)
    | alert("warning"; "oa_failing"; .subject; .since;
      "no refresh came through (\(.line.detail // "no detail")); look at the network and at the token endpoint")),
  (failing_now as $failing
    | if are_many($failing | length)
      then alert("critical"; "many_failing"; "fleet"; [$failing[].since] | min;
        "\($failing | length) of \(fleet) OAs get no refresh through; look at the network and at the token endpoint")
      else empty end),

  (open_of("app.braked") | select(for_seconds($now) > $braked_for)
    | alert("warning"; "app_braked"; .subject; .since;
      "the token endpoint answers nonsense; its OAs are tried one at a time: look at proxy, token_url and Zalo")),

  (if .dropped.grown > 0
    then alert("warning"; "lines_dropped"; "daemon"; .heartbeat.timestamp;
      "\(.dropped.grown) lines of the log were lost: its reader is slow or away; this log has holes, zalo-tokend status has not")
    else empty end),

  count_alert("critical"; "oas_reauthorization_required"; .heartbeat.reauthorization_required;
    "OAs wait for a person to grant consent again; see zalo-tokend status"),
  count_alert("critical"; "oas_blocked"; .heartbeat.blocked;
    "OAs wait because Zalo refuses their app's id or secret; correct it"),
  count_alert("warning"; "oas_awaiting_grant"; .heartbeat.awaiting_grant;
    "OAs have no tokens, or none of their app; see zalo-tokend status, and import some");

# ---- the same in numbers -----------------------------------------------------------------------------------------

def escaped: tostring | gsub("\\\\"; "\\\\") | gsub("\""; "\\\"") | gsub("\n"; "\\n");

# The samples are objects {labels, value}.
def metric($name; $help; samples):
  "# HELP zalo_tokend_\($name) \($help)",
  "# TYPE zalo_tokend_\($name) gauge",
  (samples
    | (.labels // {} | to_entries | map("\(.key)=\"\(.value | escaped)\"") | join(",")) as $labels
    | "zalo_tokend_\($name)\(if $labels == "" then "" else "{\($labels)}" end) \(.value)");

def since_of($kind; $field):
  open_of($kind) | {labels: {($field): .line[$field]}, value: ((.since | seconds) // $now)};

def metrics($endings):
  metric("log_read_timestamp_seconds"; "When the log was read."; {value: $now}),
  metric("sign_of_life_timestamp_seconds"; "The last heartbeat, or the first start after it; 0 if there was neither.";
    {value: ((sign_of_life | seconds) // 0)}),
  metric("next_refresh_timestamp_seconds"; "The next refresh that is planned, by the newest heartbeat.";
    .heartbeat.next_refresh_at | seconds | select(. != null) | {value: .}),
  metric("oas"; "How many OAs are in each state, by the newest heartbeat.";
    .heartbeat | select(. != null)
    | {awaiting_grant, scheduled, retrying, presenting, uncertain, reauthorization_required, blocked, unmanaged}
    | to_entries[] | {labels: {state: .key}, value: (.value // 0)}),
  metric("fleet_oas"; "How many OAs the daemon keeps."; {value: fleet}),
  metric("open_errors"; "ERROR events that nothing has ended yet, by event.";
    [errors($endings)] | group_by(.event)[] | {labels: {event: .[0].event}, value: length}),
  metric("uncertain_since_timestamp_seconds"; "Since when an OA is uncertain; oa_id is unknown where the log does not tell it.";
    since_of("uncertain"; "oa_id"),
    (.unexplained | select(. != null) | {labels: {oa_id: "unknown"}, value: (.since | seconds)})),
  metric("failing_since_timestamp_seconds"; "Since when an OA gets no refresh through."; since_of("failing"; "oa_id")),
  metric("braked_since_timestamp_seconds"; "Since when an app is braked."; since_of("app.braked"; "app_id")),
  metric("refresh_token_expiring"; "1 for an OA whose refresh token will end and is not renewed.";
    open_of("refresh_token.expiring")
    | {labels: {oa_id: .line.oa_id, level: .line.level, step: .line.step}, value: 1}),
  metric("lines_dropped"; "Lines of the log that were lost since the daemon's start."; {value: .dropped.total}),
  metric("lines_dropped_grown"; "How many of them since the heartbeat before the newest, or since the start."; {value: .dropped.grown})
  | "M\t" + .;

read_log | endings as $endings | alerts($endings), metrics($endings)
