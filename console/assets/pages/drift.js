// What has left its reference: evidence by signal, how it moved since the page was opened, events.
import { ask } from "../api.js";
import { Confirm, Line, Problem, State, percent, usePoll, when } from "../parts.js";
import { html, useEffect, useState } from "../vendor/preact-htm.js";

const PATH = "api/v1/monitoring/drift";
const KEPT = 500;

function useHistory(check) {
  const [kept, setKept] = useState({});
  useEffect(() => {
    if (!check) return;
    setKept((last) =>
      Object.fromEntries(
        Object.entries(check.statistical_tests).map(([name, signal]) => [name, [...(last[name] ?? []), { value: signal.evidence }].slice(-KEPT)]),
      ),
    );
  }, [check]);
  return kept;
}

function Reference({ summary }) {
  const made = summary.reference;
  if (made.kind === "learning") {
    return html`<p>Learning what is usual: ${made.n} of ${made.n_wanted} texts.
      <progress max=${made.n_wanted} value=${made.n} aria-label="Texts learned"></progress></p>`;
  }
  const kinds = { first_answers: "the first answers of the version", accepted: "texts that were accepted as usual" };
  return html`<p>Compared with ${made.n} texts, ${kinds[made.kind]}, of ${when(made.made)}. Any false alarm within ${summary.false_alarm_rate.horizon_days} days has a chance of at most ${summary.false_alarm_rate.alpha}.</p>`;
}

function Signals({ check }) {
  const history = useHistory(check);
  const signals = Object.entries(check.statistical_tests);
  if (!signals.length) return html`<p class="quiet">Nothing to compare yet: ${check.missing_texts} texts are missing.</p>`;
  return html`<div class="scroll" tabindex="0"><table>
    <caption>Evidence of drift by signal; 1 is an alarm, the dashed line</caption>
    <thead><tr><th scope="col">Signal</th><th scope="col">Level</th><th scope="col">Mean</th><th scope="col">Reference</th><th scope="col">PSI</th><th scope="col">Evidence</th><th scope="col">Since this page was opened</th></tr></thead>
    <tbody>${signals.map(([name, signal]) => html`<tr key=${name}>
      <th scope="row">${name}</th><td><${State} name=${signal.level} /></td>
      <td class="figure">${signal.mean.toFixed(3)}</td><td class="figure">${signal.mean_reference.toFixed(3)}</td>
      <td class="figure">${signal.psi.toFixed(3)}</td><td class="figure">${signal.evidence.toFixed(3)}</td>
      <td><${Line} points=${history[name] ?? []} limit=${1} label=${`Evidence of ${name}`} /></td></tr>`)}</tbody>
  </table></div>`;
}

/** How often answers are right, by those that were drawn at random and judged. */
function Accuracy() {
  const { data, error } = usePoll("api/v1/monitoring/accuracy", 10_000);
  return html`<section aria-label="Live accuracy"><h2>Live accuracy</h2>
    <${Problem} error=${error} absent="Answers are not judged on this server: set feedback.enabled." />
    ${data && html`<p class="big">${data.accuracy.value == null ? "Not known yet" : percent(data.accuracy.value)}</p>
      <p>Between ${percent(data.accuracy.low)} and ${percent(data.accuracy.high)}, by ${data.accuracy.n} judged of ${data.drawn} drawn answers; the range misses the truth with a chance of at most ${data.alpha}.
        ${data.complete ? "" : "Fewer than 70 % of the drawn answers are judged."} <a href="#/label">Judge some</a></p>
      ${data.days.length > 1 && html`<${Line} points=${data.days.map((day) => ({ value: day.right / Math.max(1, day.n) }))} limit=${1} label="Share of right answers by day" />`}
      ${data.days.length > 0 && html`<div class="scroll" tabindex="0"><table><caption>By day of the answer</caption>
        <thead><tr><th scope="col">Day</th><th scope="col">Right</th><th scope="col">Judged</th></tr></thead>
        <tbody>${data.days.slice(-14).map((day) => html`<tr key=${day.day}><th scope="row">${day.day}</th><td class="figure">${day.right}</td><td class="figure">${day.n}</td></tr>`)}</tbody></table></div>`}`}
  </section>`;
}

export function Drift() {
  return html`<${Accuracy} /><${Signs} />`;
}

function Signs() {
  const summary = usePoll(PATH, 5_000);
  const check = usePoll(summary.data && `${PATH}/check`, 5_000);
  const events = usePoll(summary.data && `${PATH}/events`, 10_000);
  const [asked, setAsked] = useState(null);
  const [said, setSaid] = useState("");
  const change = (title, text, path, more = {}) =>
    setAsked({
      title,
      text,
      word: summary.data.model_version,
      act: async (reason) => {
        setSaid((await ask("POST", `${PATH}/${path}`, { reason, ...more })).message);
        [summary, check, events].forEach((poll) => poll.reload());
      },
    });
  if (summary.error) return html`<${Problem} error=${summary.error} absent="Drift is not watched on this server: set drift.enabled." />`;
  if (!summary.data) return html`<p class="quiet">Asking…</p>`;
  const levels = Object.values(summary.data.levels);
  const level = levels.includes("drifted") ? "drifted" : levels.includes("changed") ? "changed" : "none";
  return html`<h2>${summary.data.model_name} version ${summary.data.model_version} <${State} name=${level} /></h2>
    <${Reference} summary=${summary.data} />
    <p>${summary.data.current_window_size} texts in the window, ${summary.data.pending_texts} to be compared; last check ${when(summary.data.last_check)}.</p>
    ${said && html`<div class="notice good" role="status">${said}</div>`}
    ${check.error ? html`<${Problem} error=${check.error} />` : check.data && html`<${Signals} check=${check.data} />`}
    <div class="row">
      <button type="button" onClick=${() => change("Acknowledge", "Every level is none again, and evidence begins anew.", "reset")}>Acknowledge</button>
      <button type="button" class="danger" onClick=${() => change("Learn anew", "The reference is forgotten; the next texts become what is usual.", "reset", { relearn: true })}>Learn anew</button>
      <button type="button" class="danger" onClick=${() => change("Accept as usual", "The texts of the last 24 hours become the reference.", "update-baseline")}>Accept as usual</button>
    </div>
    ${events.data && html`<section aria-label="Events"><h2>Events</h2>
      ${events.data.events.length ? html`<div class="scroll" tabindex="0"><table><caption>The latest first</caption>
        <thead><tr><th scope="col">When</th><th scope="col">What</th><th scope="col">Signal</th><th scope="col">Level</th><th scope="col">Who</th><th scope="col">Why</th></tr></thead>
        <tbody>${events.data.events.map((event, i) => html`<tr key=${i}><td>${when(event.at)}</td><td>${event.kind}</td><td>${event.signal}</td><td>${event.level}</td><td>${event.actor}</td><td>${event.reason}</td></tr>`)}</tbody></table></div>`
        : html`<p class="quiet">None yet.</p>`}</section>`}
    ${asked && html`<${Confirm} ...${asked} danger close=${() => setAsked(null)} />`}`;
}
