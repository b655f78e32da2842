// Batch jobs: texts or a file, progress, results.
import { ask, part, request } from "../api.js";
import { Confirm, Problem, State, usePoll, when } from "../parts.js";
import { html, useState } from "../vendor/preact-htm.js";

const PATH = "api/v1/batch";
const MINE = "sentigraph-jobs";
const FORMATS = ["csv", "jsonl", "parquet"];
const remembered = () => JSON.parse(sessionStorage.getItem(MINE) ?? "[]");

async function save(id, format) {
  const answer = await request("GET", `${PATH}/results/${part(id)}/file?format=${format}`);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = `${id}.${format}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function Job({ id, ask: confirm, forget }) {
  const [ended, setEnded] = useState(false);
  const { data, error, reload } = usePoll(`${PATH}/status/${part(id)}`, ended ? 0 : 2_000);
  const [failure, setFailure] = useState(null);
  if (data && !ended && !["pending", "processing"].includes(data.status)) setEnded(true);
  const cancel = () =>
    confirm({
      title: "Cancel the job",
      text: `What is classified by now is kept. Job ${id}.`,
      word: id.slice(0, 8),
      danger: true,
      free: true,
      act: async () => {
        await ask("DELETE", `${PATH}/jobs/${part(id)}`);
        reload();
      },
    });
  const download = (format) => save(id, format).catch(setFailure);
  return html`<li class="card">
    <div class="row spread"><code>${id}</code>${data && html`<${State} name=${data.status} />`}
      ${error?.status === 404 && html`<button type="button" onClick=${() => forget(id)}>Forget</button>`}</div>
    <${Problem} error=${error ?? failure} />
    ${data && html`<progress max="100" value=${data.progress_percentage} aria-label="Progress"></progress>
      <p>${data.processed_texts} of ${data.total_texts} texts${data.failed_texts ? `, ${data.failed_texts} failed` : ""}; begun ${when(data.created_at)}${!ended && data.estimated_completion_seconds != null ? `, about ${Math.ceil(data.estimated_completion_seconds)} s to go` : ""}. ${data.error ?? ""}</p>
      <div class="row">${ended
        ? FORMATS.map((format) => html`<button key=${format} type="button" onClick=${() => download(format)}>Download ${format}</button>`)
        : html`<button type="button" class="danger" onClick=${cancel}>Cancel</button>`}</div>`}
  </li>`;
}

export function Jobs() {
  const queue = usePoll(`${PATH}/queue/status`, 5_000);
  const [ids, setIds] = useState(remembered());
  const [text, setText] = useState("");
  const [column, setColumn] = useState("text");
  const [priority, setPriority] = useState("medium");
  const [over, setOver] = useState(false);
  const [error, setError] = useState(null);
  const [asked, setAsked] = useState(null);
  const [busy, setBusy] = useState(false);
  const keep = (list) => {
    sessionStorage.setItem(MINE, JSON.stringify(list));
    setIds(list);
  };
  const send = async (path, body) => {
    setBusy(true);
    setError(null);
    try {
      const headers = { "Idempotency-Key": crypto.randomUUID() };
      const { job_id: id } = await ask("POST", `${PATH}/${path}`, body, { headers });
      keep([id, ...ids].slice(0, 20));
      setText("");
    } catch (failure) {
      setError(failure);
    }
    setBusy(false);
  };
  const submit = (event) => {
    event.preventDefault();
    send("predict", { texts: text.split("\n").filter((line) => line.trim()), priority });
  };
  const upload = (file) => {
    if (!file) return;
    const form = new FormData();
    form.append("file", file);
    form.append("text_column", column);
    form.append("priority", priority);
    send("files", form);
  };
  const drop = (event) => {
    event.preventDefault();
    setOver(false);
    upload(event.dataTransfer.files[0]);
  };
  if (queue.error && queue.error.status !== 0) {
    return html`<${Problem} error=${queue.error} absent="Batch jobs are off on this server: set jobs.enabled." />`;
  }
  return html`<form onSubmit=${submit} class=${over ? "drop over" : "drop"} onDragOver=${(e) => { e.preventDefault(); setOver(true); }} onDragLeave=${() => setOver(false)} onDrop=${drop}>
      <label>Texts, one a line; or drop a CSV, JSON lines or Parquet file here
        <textarea rows="4" value=${text} onInput=${(e) => setText(e.target.value)}></textarea></label>
      <div class="row">
        <button class="main" disabled=${busy || !text.trim()}>Start</button>
        <label class="inline">Priority <select value=${priority} onChange=${(e) => setPriority(e.target.value)}>${["low", "medium", "high"].map((name) => html`<option key=${name}>${name}</option>`)}</select></label>
        <label class="inline">Column of the texts <input class="small" value=${column} onInput=${(e) => setColumn(e.target.value)} /></label>
        <label class="inline">File <input type="file" accept=".csv,.tsv,.txt,.jsonl,.ndjson,.parquet,.gz,.zst" onChange=${(e) => { upload(e.target.files[0]); e.target.value = ""; }} /></label>
      </div>
    </form>
    <${Problem} error=${error} />
    ${queue.data && html`<p class="quiet">The service is ${queue.data.service_status}.</p>`}
    <section aria-label="Jobs of this tab"><h2>Jobs of this tab</h2>
      ${ids.length ? html`<ul class="list">${ids.map((id) => html`<${Job} key=${id} id=${id} ask=${setAsked} forget=${(gone) => keep(ids.filter((one) => one !== gone))} />`)}</ul>` : html`<p class="quiet">None yet.</p>`}</section>
    ${asked && html`<${Confirm} ...${asked} close=${() => setAsked(null)} />`}`;
}
