// One text: scores, timings, the call as code, and what would have been right.
import { address, ask, request } from "../api.js";
import { Bar, Code, Problem } from "../parts.js";
import { html, useState } from "../vendor/preact-htm.js";

const EXAMPLE = "The delivery was late, but support was wonderful.";

/** `Server-Timing` as stages with milliseconds. */
function stages(header) {
  return (header ?? "").split(",").flatMap((entry) => {
    const found = entry.match(/^\s*([\w-]+);dur=([\d.]+)/);
    return found ? [{ name: found[1], ms: Number(found[2]) }] : [];
  });
}

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

/** The same call in three languages; a key is named and never shown. */
function calls(text) {
  const root = address("").replace(/\/$/, "");
  const body = JSON.stringify({ text });
  return {
    curl: `curl -s ${root}/api/v1/predict \\\n  -H 'content-type: application/json' \\\n  -H "x-api-key: $SENTIGRAPH_API_KEY" \\\n  -d ${quoted(body)}`,
    Python: `from sentigraph_client import Client\n\nclient = Client("${root}")  # key: SENTIGRAPH_API_KEY\nanswer = client.predict(${JSON.stringify(text)})\nprint(answer.label, answer.score)`,
    TypeScript: `import { Client } from "sentigraph-client";\n\nconst client = new Client({ baseUrl: "${root}", apiKey: process.env.SENTIGRAPH_API_KEY });\nconst answer = await client.predict(${JSON.stringify(text)});\nconsole.log(answer.label, answer.score);`,
  };
}

function Timings({ timings, roundTripMs }) {
  const total = timings.find((stage) => stage.name === "total")?.ms ?? roundTripMs;
  const parts = timings.filter((stage) => stage.name !== "total");
  return html`<section aria-label="Time">
    <h2>Time</h2>
    <p>${total.toFixed(1)} ms in the server, ${roundTripMs.toFixed(0)} ms from here.</p>
    ${parts.map((stage) => html`<div class="bar" key=${stage.name}>
      <span>${stage.name}</span>
      <meter min="0" max=${Math.max(total, 0.01)} value=${stage.ms} aria-label=${stage.name}></meter>
      <span class="figure">${stage.ms.toFixed(2)} ms</span></div>`)}
  </section>`;
}

function Feedback({ answer }) {
  const [said, setSaid] = useState(null);
  const [error, setError] = useState(null);
  const say = async (label) => {
    setError(null);
    try {
      const body = { prediction_id: answer.prediction_id, corrected_label: label };
      setSaid(await ask("POST", "api/v1/feedback", body));
    } catch (failure) {
      setError(failure);
    }
  };
  return html`<section aria-label="Feedback">
    <h2>What is right?</h2>
    <div class="row">${Object.keys(answer.scores).map((label) => html`<button key=${label} type="button" disabled=${said} onClick=${() => say(label)}>${label}</button>`)}</div>
    <${Problem} error=${error} />
    ${said && html`<p role="status">${said.correct ? "The answer was right" : "The answer was wrong"}: ${said.message}.</p>`}
  </section>`;
}

export function Try() {
  const [text, setText] = useState(EXAMPLE);
  const [result, setResult] = useState(null);
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const [language, setLanguage] = useState("curl");
  const classify = async (event) => {
    event?.preventDefault();
    setBusy(true);
    setError(null);
    const startedMs = performance.now();
    try {
      const reply = await request("POST", "api/v1/predict", { text });
      const answer = await reply.json();
      const timings = stages(reply.headers.get("server-timing"));
      setResult({ answer, timings, roundTripMs: performance.now() - startedMs });
    } catch (failure) {
      setError(failure);
      setResult(null);
    }
    setBusy(false);
  };
  const keys = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) classify(event);
  };
  const shown = calls(text);
  const answer = result?.answer;
  const scores = answer ? Object.entries(answer.scores).sort((a, b) => b[1] - a[1]) : [];
  return html`<form onSubmit=${classify}>
      <label>Text <textarea rows="3" value=${text} onInput=${(e) => setText(e.target.value)} onKeyDown=${keys}></textarea></label>
      <div class="row"><button class="main" disabled=${busy || !text.trim()}>Classify</button><span class="quiet">Ctrl+Enter</span></div>
    </form>
    <${Problem} error=${error} />
    ${answer && html`<div class="columns">
      <section aria-label="Answer">
        <h2>${answer.labels ? answer.labels.join(", ") || "No label" : answer.label} <span class="quiet">${answer.score.toFixed(3)}</span></h2>
        ${scores.map(([label, score]) => html`<${Bar} key=${label} name=${label} value=${score} mark=${(answer.labels ?? [answer.label]).includes(label)} />`)}
        <p class="quiet">${answer.model_name} version ${answer.model_version}, ${answer.backend}; ${answer.n_tokens} tokens${answer.truncated ? ", cut" : ""}${answer.cached ? "; from the cache" : ""}</p>
      </section>
      <${Timings} ...${result} />
      <${Feedback} key=${answer.prediction_id} answer=${answer} />
    </div>`}
    <section aria-label="As code">
      <h2>As code</h2>
      <div class="row" role="group" aria-label="Language">${Object.keys(shown).map(
        (name) => html`<button key=${name} type="button" aria-pressed=${name === language} onClick=${() => setLanguage(name)}>${name}</button>`,
      )}</div>
      <${Code} text=${shown[language]} label=${`The call in ${language}`} />
    </section>`;
}
