// Versions side by side, what may be done with them, and a release with its evidence as it grows.
import { ask, get, part } from "../api.js";
import { Confirm, Done, Line, Problem, State, percent, short, usePoll, when } from "../parts.js";
import { html, useEffect, useState } from "../vendor/preact-htm.js";

const POLL_MS = 2_000;
const KEPT = 300;

function Slot({ name, live, weight }) {
  return html`<section class="card" aria-label=${name}>
    <h2>${name}</h2>
    ${live
      ? html`<p class="big">Version ${live.version}</p>
          <dl>
            <dt>Traffic</dt><dd>${percent(weight)}</dd>
            <dt>Engine</dt><dd>${live.backend}, ${live.precision}</dd>
            <dt>Labels</dt><dd>${live.labels.join(", ")}</dd>
            <dt>Digest</dt><dd><code>${short(live.digest)}</code></dd>
          </dl>`
      : html`<p class="quiet">None</p>`}
  </section>`;
}

function Live({ live }) {
  const challenger = live.challenger_weight;
  return html`<div class="columns">
    <${Slot} name="Champion" live=${live.champion} weight=${1 - challenger} />
    <${Slot} name="Challenger" live=${live.challenger} weight=${challenger} />
    <${Slot} name="Shadow" live=${live.shadow} weight=${live.shadow_weight} />
  </div>`;
}

/** Each poll's evidence by test, since the step began. */
function useEvidence(release) {
  const [kept, setKept] = useState({ step: "", tests: {} });
  useEffect(() => {
    if (!release) return;
    const step = `${release.id} ${release.step}`;
    setKept((last) => {
      const before = last.step === step ? last.tests : {};
      const tests = Object.fromEntries(
        release.tests.map((test) => [test.name, [...(before[test.name] ?? []), { value: test.within }].slice(-KEPT)]),
      );
      return { step, tests };
    });
  }, [release]);
  return kept.tests;
}

function Test({ test, points }) {
  const proven = test.within_needed != null && test.within >= test.within_needed;
  const state = test.passed ? (proven ? "proven" : test.within_needed == null ? "watched" : "open") : "failed";
  return html`<tr>
    <th scope="row">${test.name}</th>
    <td><${State} name=${state} /></td>
    <td class="figure">${test.mean.toFixed(4)}</td>
    <td class="figure">${test.limit}</td>
    <td class="figure">${test.total}</td>
    <td><${Line} points=${points} limit=${test.within_needed} label=${`Evidence of ${test.name}: ${test.within.toFixed(1)}`} /></td>
  </tr>`;
}

function Release({ model, release, open }) {
  const evidence = useEvidence(release);
  const path = `api/v1/models/${part(model)}/release`;
  const change = (title, verb, text, word, danger) => () =>
    open({ title, text, word, danger, act: (reason) => ask("POST", `${path}/${verb}`, { reason }) });
  const share = percent(release.weight);
  return html`<section aria-label="Release">
    <h2>Release of version ${release.version} <${State} name=${release.held ? "held" : release.verdict} /></h2>
    <p>Step ${release.step + 1} of ${release.steps.length}: ${share} of the texts as ${release.slot}, since ${when(release.since)}. ${release.held ? `Held: ${release.held}. ` : ""}${release.reason}</p>
    <div class="scroll" tabindex="0"><table>
      <caption>Evidence that version ${release.version} is within its limits; a line that crosses the dashed one is proof</caption>
      <thead><tr><th scope="col">Test</th><th scope="col">State</th><th scope="col">Mean</th><th scope="col">Limit</th><th scope="col">Texts</th><th scope="col">Evidence</th></tr></thead>
      <tbody>${release.tests.map((test) => html`<${Test} key=${test.name} test=${test} points=${evidence[test.name] ?? []} />`)}</tbody>
    </table></div>
    <div class="row">
      ${release.held
        ? html`<button type="button" onClick=${change("Resume", "resume", "The release goes on with its tests.")}>Resume</button>`
        : html`<button type="button" onClick=${change("Hold", "hold", "It stays in this step; the tests may still roll it back.")}>Hold</button>`}
      <button type="button" class="danger" onClick=${change("Abort", "abort", `Version ${release.version} loses its traffic and stays in staging.`, release.version, true)}>Abort</button>
    </div>
  </section>`;
}

function Gate({ model, version }) {
  const { data, error } = usePoll(`api/v1/models/${part(model)}/versions/${part(version.number)}/gate`);
  if (error) return html`<${Problem} error=${error} />`;
  if (!data) return html`<p class="quiet">Asking the gate…</p>`;
  return html`<p>${data.passed ? "The gate would let it pass." : "The gate would refuse it:"}</p>
    <ul>${data.checks.map((check) => html`<li key=${check.name}><${State} name=${check.passed ? "passed" : "failed"} /> ${check.name}: ${check.reason}</li>`)}</ul>`;
}

function Evaluations({ version }) {
  if (!version.evaluations.length) return html`<p class="quiet">No evaluation is recorded.</p>`;
  return html`<div class="scroll" tabindex="0"><table>
    <caption>Evaluations of version ${version.number}</caption>
    <thead><tr><th scope="col">Dataset</th><th scope="col">Figures</th><th scope="col">When</th></tr></thead>
    <tbody>${version.evaluations.map((found) => html`<tr key=${found.id}><th scope="row">${found.dataset_name}</th>
      <td>${Object.entries(found.metrics).map(([name, value]) => `${name} ${Number(value).toFixed(4)}`).join(", ")}</td><td>${when(found.created_at)}</td></tr>`)}</tbody>
  </table></div>`;
}

/** The buttons of one version, by its stage. */
function Actions({ model, version, busy, open, done }) {
  const path = `api/v1/models/${part(model)}`;
  const mine = `${path}/versions/${part(version.number)}`;
  const promote = (to) => async (reason) => {
    await ask("POST", `${mine}/promote`, { to_status: to, reason });
    const audit = await get(`${path}/audit?limit=1`);
    done(audit.entries[0]);
  };
  const offer = (title, text, act, danger) => html`<button type="button" class=${danger ? "danger" : ""}
    onClick=${() => open({ title, text, word: version.number, danger, act })}>${title}</button>`;
  const number = version.number;
  const slot = (name, weight) => (reason) => ask("PUT", `${path}/slots/${name}`, { version: String(number), weight, reason });
  return html`<div class="row">
    ${version.status === "draft" && offer("Move to staging", `Version ${number} may then be released.`, promote("staging"))}
    ${version.status === "staging" && html`
      ${!busy && offer("Release", `Version ${number} gets traffic step by step, and its tests decide.`, (reason) => ask("POST", `${mine}/release`, { reason }))}
      ${!busy && offer("Shadow", `Version ${number} is asked every text; its answers are compared and not given.`, slot("shadow", 1))}
      ${offer("Promote now", `Version ${number} answers everything, without a release. The gate is asked first.`, promote("production"), true)}`}
  </div>`;
}

function Versions({ model, data, live, busy, open, done }) {
  const [shown, setShown] = useState(null);
  return html`<section aria-label="Versions">
    <h2>Versions of ${model}</h2>
    <ul class="list">${[...data.versions].sort((a, b) => b.number - a.number).map((version) => html`<li key=${version.number} class="card">
      <div class="row spread">
        <strong>Version ${version.number}</strong>
        <span>${version.version !== String(version.number) ? version.version : ""}</span>
        <${State} name=${version.status} />
        <span>${version.aliases.join(", ")}</span>
        <code>${short(version.digest)}</code>
        <button type="button" aria-expanded=${shown === version.number} onClick=${() => setShown(shown === version.number ? null : version.number)}>Details of version ${version.number}</button>
      </div>
      ${version.rolled_back && html`<p class="notice bad">Rolled back: ${version.rolled_back}</p>`}
      ${shown === version.number && html`<${Evaluations} version=${version} />
        ${version.status !== "production" && html`<${Gate} model=${model} version=${version} />`}`}
      <${Actions} model=${model} version=${version} live=${live} busy=${busy} open=${open} done=${done} />
    </li>`)}</ul>
  </section>`;
}

function Audit({ model }) {
  const { data, error } = usePoll(`api/v1/models/${part(model)}/audit?limit=10`, 10_000);
  if (error) return html`<${Problem} error=${error} />`;
  if (!data) return null;
  return html`<section aria-label="Audit ledger">
    <h2>Audit ledger</h2>
    <div class="scroll" tabindex="0"><table>
      <caption>The latest of ${data.total} entries; the chain of digests holds</caption>
      <thead><tr><th scope="col">Entry</th><th scope="col">When</th><th scope="col">Action</th><th scope="col">Version</th><th scope="col">Who</th><th scope="col">Why</th></tr></thead>
      <tbody>${data.entries.map((entry) => html`<tr key=${entry.seq}><td>${entry.seq}</td><td>${when(entry.at)}</td><td>${entry.action}</td><td>${entry.version ?? ""}</td><td>${entry.actor}</td><td>${entry.reason}</td></tr>`)}</tbody>
    </table></div>
  </section>`;
}

export function Models() {
  const live = usePoll("api/v1/models/live", POLL_MS);
  const model = live.data?.champion.name;
  const path = model && `api/v1/models/${part(model)}`;
  const known = usePoll(path, 5_000);
  const release = usePoll(path && `${path}/release`, POLL_MS);
  const [asked, setAsked] = useState(null);
  const [event, setEvent] = useState(null);
  const under = release.error?.status === 404 ? null : release.data;
  const again = (found) => {
    if (found?.seq != null) setEvent(found);
    known.reload();
    release.reload();
    live.reload();
  };
  const open = (question) =>
    setAsked({ ...question, act: async (reason) => again(await question.act(reason)) });
  const back = () =>
    open({
      title: "Roll back",
      text: "The champion before this one answers again, at once.",
      word: live.data.champion.version,
      danger: true,
      act: (reason) => ask("POST", `${path}/rollback`, { reason }),
    });
  const clear = (slot) =>
    open({
      title: `Clear ${slot}`,
      text: `The ${slot} gets no more texts.`,
      free: true,
      act: () => ask("DELETE", `${path}/slots/${slot}`),
    });
  const state = known.data?.aliases ?? {};
  return html`<${Problem} error=${live.error} />
    <${Done} event=${event} />
    ${live.data && html`<${Live} live=${live.data} />
      <div class="row">
        ${state.previous != null && html`<button type="button" class="danger" onClick=${back}>Roll back</button>`}
        ${!under && live.data.shadow && html`<button type="button" onClick=${() => clear("shadow")}>Clear shadow</button>`}
        ${!under && live.data.challenger && html`<button type="button" onClick=${() => clear("challenger")}>Clear challenger</button>`}
      </div>`}
    ${under && html`<${Release} model=${model} release=${under} open=${open} />`}
    ${release.error?.status === 404 && html`<p class="quiet">No release is under way.</p>`}
    ${known.error && html`<${Problem} error=${known.error} />`}
    ${known.data && html`<${Versions} model=${model} data=${known.data} busy=${Boolean(under)} open=${open} done=${again} />
      <${Audit} key=${event?.seq} model=${model} />`}
    ${asked && html`<${Confirm} ...${asked} close=${() => setAsked(null)} />`}`;
}
