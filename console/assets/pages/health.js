// What works, what is degraded, and what to do about it.
import { Problem, State, usePoll, when } from "../parts.js";
import { html } from "../vendor/preact-htm.js";

const REMEDIES = {
  model: "See the log of the Model deployment; `sentigraph status` shows its replicas and `sentigraph doctor` what is wrong.",
  registry: "Predictions go on with the version that is known; promotions wait. Start MLflow or check registry.tracking_uri.",
  cache: "Predictions go on, computed anew each time. Check that Redis answers at redis.url.",
  kafka: "The stream reads on when the broker answers. Check stream.bootstrap_servers.",
  secrets: "Keys stay as they were. Check that Vault answers and that the token is valid.",
};

function Component({ name, state }) {
  const kind = state === "ok" ? "ok" : state.startsWith("degraded") ? "degraded" : "down";
  return html`<li class="card"><div class="row spread"><strong>${name}</strong><${State} name=${kind} /></div>
    ${kind !== "ok" && html`<p>${state}</p><p><b>What to do:</b> ${REMEDIES[name] ?? "Run `sentigraph doctor`."}</p>`}</li>`;
}

export function Health() {
  const ready = usePoll("api/v1/health/ready", 5_000);
  const live = usePoll("api/v1/models/live", 10_000);
  const details = usePoll("api/v1/health/details", 10_000);
  const checks = Object.entries(ready.data?.checks ?? {});
  const worse = checks.filter(([, state]) => state !== "ok");
  return html`<${Problem} error=${ready.error} />
    ${ready.error?.status === 503 && html`<p><b>What to do:</b> ${REMEDIES.model}</p>`}
    ${ready.data && html`<p>${worse.length ? `Texts are classified; ${worse.length} of ${checks.length} parts are degraded.` : "Everything works."}</p>
      <ul class="list">${[...worse, ...checks.filter(([, state]) => state === "ok")].map(([name, state]) => html`<${Component} key=${name} name=${name} state=${state} />`)}</ul>`}
    ${live.data && html`<p>Version ${live.data.champion.version} of ${live.data.champion.name} answers, known from ${live.data.champion.source}; topology ${live.data.topology}.</p>`}
    ${details.data && html`<section aria-label="Dependencies"><h2>Dependencies</h2><div class="scroll" tabindex="0"><table>
      <caption>Server ${details.data.version}, ${when(details.data.timestamp)}</caption>
      <thead><tr><th scope="col">Name</th><th scope="col">State</th></tr></thead>
      <tbody>${details.data.dependencies.map((found) => html`<tr key=${found.component_name}><th scope="row">${found.component_name}</th><td>${found.details.status}${found.details.error && `: ${found.details.error}`}</td></tr>`)}</tbody></table></div></section>`}`;
}
