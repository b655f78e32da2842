// The frame: which page is shown, who the person is, and the state of the server in one word.
import { person, signIn } from "./api.js";
import { usePoll } from "./parts.js";
import { Drift } from "./pages/drift.js";
import { Health } from "./pages/health.js";
import { Jobs } from "./pages/jobs.js";
import { Label } from "./pages/label.js";
import { Models } from "./pages/models.js";
import { Try } from "./pages/try.js";
import { html, render, useEffect, useRef, useState } from "./vendor/preact-htm.js";

const PAGES = {
  try: ["Try", Try],
  models: ["Models", Models],
  drift: ["Drift", Drift],
  label: ["Label", Label],
  jobs: ["Jobs", Jobs],
  health: ["Health", Health],
};
const here = () => (location.hash.slice(2).split("/")[0] in PAGES ? location.hash.slice(2).split("/")[0] : "try");

function SignIn({ close }) {
  const dialog = useRef(null);
  const [key, setKey] = useState(person.key);
  const [name, setName] = useState(person.name);
  const [keep, setKeep] = useState(Boolean(sessionStorage.length));
  useEffect(() => {
    dialog.current.showModal();
  }, []);
  const save = (event) => {
    event.preventDefault();
    signIn(key.trim(), name.trim(), keep);
    close();
  };
  return html`<dialog ref=${dialog} onCancel=${close} aria-labelledby="who-title">
    <form onSubmit=${save}>
      <h2 id="who-title">Who are you?</h2>
      <label>API key <input name="key" type="password" autocomplete="off" value=${key} onInput=${(e) => setKey(e.target.value)} /></label>
      <label>Your name, for the audit ledger of a server without keys
        <input name="name" maxlength="255" autocomplete="off" value=${name} onInput=${(e) => setName(e.target.value)} /></label>
      <label class="check"><input type="checkbox" checked=${keep} onChange=${(e) => setKeep(e.target.checked)} />
        Keep the key until this tab is closed</label>
      <p class="quiet">The key stays in this tab. It goes to this server and nowhere else.</p>
      <div class="row end">
        <button type="button" onClick=${close}>Cancel</button>
        <button class="main">Use</button>
      </div>
    </form>
  </dialog>`;
}

function App() {
  const [page, setPage] = useState(here());
  const [asking, setAsking] = useState(false);
  const [who, setWho] = useState(0);
  const heading = useRef(null);
  const { data, error } = usePoll("api/v1/health/ready", 10_000);
  useEffect(() => {
    const turn = () => {
      setPage(here());
      heading.current.focus();
    };
    addEventListener("hashchange", turn);
    return () => removeEventListener("hashchange", turn);
  }, []);
  const [title, Page] = PAGES[page];
  useEffect(() => {
    document.title = `${title} · sentigraph console`;
  }, [title]);
  const degraded = data && Object.values(data.checks ?? {}).some((state) => state.startsWith("degraded"));
  const state = error ? "down" : degraded ? "degraded" : data ? "ready" : "…";
  return html`<header>
      <a class="name" href="#/try">sentigraph</a>
      <nav aria-label="Pages">
        ${Object.entries(PAGES).map(
          ([name, [label]]) => html`<a key=${name} href="#/${name}" aria-current=${name === page ? "page" : null}>${label}</a>`,
        )}
      </nav>
      <a class="state ${state}" href="#/health" aria-label="Server: ${state}">${state}</a>
      <button type="button" onClick=${() => setAsking(true)}>${person.key ? "Key set" : person.name || "Key"}</button>
    </header>
    <main>
      <h1 tabindex="-1" ref=${heading}>${title}</h1>
      <${Page} key=${`${page} ${who}`} />
    </main>
    ${asking && html`<${SignIn} close=${() => { setAsking(false); setWho((n) => n + 1); }} />`}`;
}

render(html`<${App} />`, document.getElementById("app"));
