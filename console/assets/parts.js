// What the pages are made of: notices, dialogs that ask for a reason, bars, tables, polling.
import { Failure, get } from "./api.js";
import { html, useCallback, useEffect, useRef, useState } from "./vendor/preact-htm.js";

/** A path of the API, asked now and every `everyMs` while the tab is seen. */
export function usePoll(path, everyMs = 0) {
  const [state, setState] = useState({ data: null, error: null });
  const [round, setRound] = useState(0);
  useEffect(() => {
    if (!path) return undefined;
    const ended = new AbortController();
    let timer = 0;
    const ask = async () => {
      if (!document.hidden) {
        try {
          const data = await get(path, ended.signal);
          setState({ data, error: null });
        } catch (error) {
          if (error.name !== "AbortError") setState((last) => ({ ...last, error }));
        }
      }
      if (everyMs && !ended.signal.aborted) timer = setTimeout(ask, Math.max(everyMs, 2000));
    };
    ask();
    return () => {
      ended.abort();
      clearTimeout(timer);
    };
  }, [path, everyMs, round]);
  const reload = useCallback(() => setRound((n) => n + 1), []);
  return { ...state, reload };
}

/** What a failure means for the person, and what to do. */
export function Problem({ error, absent }) {
  if (!error) return null;
  if (!(error instanceof Failure)) throw error;
  const off = error.status === 404 || ["E4006", "E8001"].includes(error.code);
  if (off && absent) return html`<p class="quiet">${absent}</p>`;
  const roles = { 401: "Give a key: the button at the top right.", 403: "Ask for a key with that role." };
  const remedy = roles[error.status] ?? (error.status === 0 ? "Is it running? Try again." : "");
  return html`<div class="notice bad" role="alert">
    <strong>${error.message}</strong> ${remedy}
    ${error.code && html`<span class="quiet"> ${error.code}, request ${error.id}</span>`}
  </div>`;
}

/** Something that changed, with the line that the audit ledger has of it. */
export function Done({ event }) {
  if (!event) return null;
  return html`<div class="notice good" role="status">
    Entry ${event.seq} of the audit ledger: <strong>${event.action}</strong>
    ${event.version != null && html` version ${event.version}`} by ${event.actor}${event.reason && html`, “${event.reason}”`}
  </div>`;
}

/** Asks for the reason (not when `free`), and for a word to be typed, before `act(reason)`. */
export function Confirm({ title, text, word, act, close, danger, free }) {
  const dialog = useRef(null);
  const [reason, setReason] = useState("");
  const [typed, setTyped] = useState("");
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  useEffect(() => {
    dialog.current.showModal();
  }, []);
  const go = async (event) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      await act(reason.trim());
      close();
    } catch (failure) {
      setError(failure);
      setBusy(false);
    }
  };
  const ready = (free || reason.trim()) && (!word || typed.trim() === String(word)) && !busy;
  return html`<dialog ref=${dialog} onCancel=${close} aria-labelledby="confirm-title">
    <form onSubmit=${go}>
      <h2 id="confirm-title">${title}</h2>
      <p>${text}</p>
      ${!free && html`<label>Reason, kept in the audit ledger
        <input name="reason" maxlength="500" autocomplete="off" value=${reason} onInput=${(e) => setReason(e.target.value)} /></label>`}
      ${word && html`<label>Type <b>${word}</b> to confirm
        <input name="word" autocomplete="off" value=${typed} onInput=${(e) => setTyped(e.target.value)} /></label>`}
      <${Problem} error=${error} />
      <div class="row end">
        <button type="button" onClick=${close}>Leave it</button>
        <button class=${danger ? "danger" : "main"} disabled=${!ready}>${title}</button>
      </div>
    </form>
  </dialog>`;
}

/** A share between 0 and 1 as a bar with its figure; another value as its figure alone. */
export function Bar({ name, value, mark }) {
  if (value < 0 || value > 1) return html`<div class="bar"><span>${name}</span><span></span><span class="figure">${value.toFixed(3)}</span></div>`;
  return html`<div class="bar">
    <span>${name}</span>
    <meter min="0" max="1" value=${value} aria-label=${name} class=${mark ? "marked" : ""}></meter>
    <span class="figure">${value.toFixed(3)}</span>
  </div>`;
}

/** Values over time as one line; `limit` is drawn across. Times and values grow with the poll. */
export function Line({ points, limit, label }) {
  const [width, height] = [240, 48];
  const values = points.map((point) => point.value);
  const low = Math.min(0, ...values);
  const high = Math.max(limit ?? 0, ...values, 1e-9);
  const x = (i) => (points.length < 2 ? 0 : (i / (points.length - 1)) * width);
  const y = (value) => height - 2 - ((value - low) / (high - low)) * (height - 4);
  const path = points.map((point, i) => `${i ? "L" : "M"}${x(i).toFixed(1)} ${y(point.value).toFixed(1)}`).join("");
  return html`<svg class="line" viewBox="0 0 ${width} ${height}" role="img" aria-label=${label} preserveAspectRatio="none">
    ${limit != null && html`<line x1="0" x2=${width} y1=${y(limit)} y2=${y(limit)} class="limit" />`}
    <path d=${path || "M0 0"} />
  </svg>`;
}

export const State = ({ name }) => html`<span class="state ${name}">${name}</span>`;

/** A time of the API, Unix seconds or ISO, in the person's own clock. */
export function when(time) {
  if (time == null) return "–";
  return new Date(typeof time === "number" ? time * 1000 : time).toLocaleString();
}

export const percent = (share) => `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`;
export const short = (digest) => (digest ? digest.slice(0, 12) : "–");

/** Text that is copied by a button. */
export function Code({ text, label }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    setCopied(true);
    setTimeout(() => setCopied(false), 2000);
  };
  return html`<div class="code">
    <pre tabindex="0" role="region" aria-label=${label}>${text}</pre>
    <button type="button" onClick=${copy}>${copied ? "Copied" : "Copy"}</button>
  </div>`;
}
