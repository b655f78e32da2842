// The queue of answers to judge, by keyboard alone: 1 to 9 choose, S skips, U goes back.
import { ask, get } from "../api.js";
import { Problem } from "../parts.js";
import { html, useCallback, useEffect, useRef, useState } from "../vendor/preact-htm.js";

const PATH = "api/v1/monitoring/labels";

export function Label() {
  const [queue, setQueue] = useState(null);
  const [before, setBefore] = useState(null);
  const [said, setSaid] = useState("");
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const text = useRef(null);
  const next = useCallback(async () => {
    try {
      setQueue(await get(`${PATH}/next`));
      setError(null);
      text.current?.focus();
    } catch (failure) {
      setError(failure);
    }
  }, []);
  useEffect(() => {
    next();
  }, []);
  const task = queue?.task;
  const choose = async (label) => {
    if (!task || busy) return;
    setBusy(true);
    try {
      const receipt = await ask("POST", PATH, { prediction_id: task.prediction_id, label });
      setBefore(task);
      setSaid(`${label}; the model had said ${receipt.predicted}.`);
      await next();
    } catch (failure) {
      setError(failure);
    }
    setBusy(false);
  };
  const skip = () => {
    setSaid("Skipped; it comes again once its lease has ended.");
    next();
  };
  const back = () => {
    if (!before) return;
    setQueue({ ...queue, task: before });
    setBefore(null);
    setSaid("Back at the one before; your new word replaces the old one.");
  };
  useEffect(() => {
    const press = (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
      if (document.querySelector("dialog[open]")) return;
      const label = task?.labels[Number(event.key) - 1];
      if (label) choose(label);
      else if (event.key.toLowerCase() === "s" && task) skip();
      else if (event.key.toLowerCase() === "u") back();
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  });
  if (error && !queue) return html`<${Problem} error=${error} absent="Answers are not kept for review on this server: set feedback.enabled." />`;
  if (!queue) return html`<p class="quiet">Asking…</p>`;
  const waiting = Object.entries(queue.waiting).map(([kind, n]) => `${n} ${kind}`).join(", ");
  return html`<p class="quiet">Waiting: ${waiting || "nothing"}.</p>
    <${Problem} error=${error} />
    <p role="status">${said}</p>
    ${task
      ? html`<section aria-label="Answer to judge" class="card">
          <p class="big text" tabindex="-1" ref=${text}>${task.text}</p>
          <p class="quiet">${task.drawn === "random" ? "Drawn at random: it measures the accuracy." : "The model hesitated here."} From ${task.source}.</p>
          <div class="row">${task.labels.map((label, i) => html`<button key=${label} type="button" class="main" disabled=${busy} onClick=${() => choose(label)}><kbd>${i + 1}</kbd> ${label}</button>`)}
            <button type="button" onClick=${skip}><kbd>S</kbd> Skip</button>
            <button type="button" disabled=${!before} onClick=${back}><kbd>U</kbd> Undo</button></div>
        </section>`
      : html`<p>Nothing waits. <button type="button" onClick=${next}>Look again</button></p>`}`;
}
