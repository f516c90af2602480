// Asks for the state every few seconds and shows it. What is chosen (arm, metric, round, hospital) stays.

import { circleChart, drawn, lineChart, style, swatch } from "./chart.js";
import { duration, fillExamples, fillLog, fillTable, made, number } from "./parts.js";

const EVERY = { running: 2000, waiting: 3000, stopped: 5000, finished: 15000 };
const STATES = { running: "Running", finished: "Finished", stopped: "Stopped", waiting: "Not begun" };
const chosen = { arm: null, metric: null, round: null, client: null };
const tags = {};
let state = null;
let arm = null;
let spoken = "";
const by = (id) => document.getElementById(id);

async function ask(address) {
  const answer = await fetch(address, { cache: "no-cache" });
  const values = answer.headers.get("Content-Type") === "application/json" ? await answer.json() : { error: await answer.text() };
  if (!answer.ok) throw new Error(values.error);
  const changed = tags[address] !== answer.headers.get("ETag");
  tags[address] = answer.headers.get("ETag");
  return [values, changed];
}

function current() {
  if (chosen.arm !== null && chosen.arm < state.arms.length) return chosen.arm;
  const active = state.arms.findLastIndex((one) => one.state === "training" || one.state === "testing");
  const begun = state.arms.findLastIndex((one) => one.round > 0);
  return Math.max(active >= 0 ? active : begun, 0);
}

async function update() {
  try {
    let changed;
    [state, changed] = await ask("state.json");
    if (changed) showState();
    if (state.arms.length) {
      const metric = chosen.metric === null ? "" : `&metric=${encodeURIComponent(chosen.metric)}`;
      const address = `arm.json?number=${current()}${metric}`;
      const [found, news] = await ask(address);
      if (news || arm?.address !== address) {
        arm = { ...found, address };
        showArm();
      }
    }
    trouble("");
  } catch (error) {
    trouble(error instanceof TypeError ? "omnifm watch has ended, or cannot be reached. Trying again." : error.message);
  }
  showTime();
}

async function follow() {
  if (!document.hidden) await update();
  setTimeout(follow, EVERY[state?.state] ?? 3000);
}

function trouble(text) {
  if (by("trouble").textContent !== text) by("trouble").textContent = text;
  by("trouble").hidden = !text;
}

function showState() {
  by("kind").textContent = state.kind;
  by("name").textContent = state.name;
  by("folder").textContent = state.folder;
  by("state").textContent = STATES[state.state];
  by("state").dataset.state = state.state;
  const arms = state.arms.length;
  const what = state.kind === "run" ? "arm" : "cell";
  by("arms-title").textContent = state.kind === "run" ? "Arms" : "Cells";
  by("where").textContent = `round ${state.done} of ${state.planned}${arms > 1 ? ` in ${arms} ${what}s` : ""}`;
  by("progress").max = Math.max(state.planned, 1);
  by("progress").value = state.done;
  document.title = `${state.done}/${state.planned} ${STATES[state.state].toLowerCase()} · ${state.name} – OmniFM`;
  const news = `${state.name}: ${STATES[state.state]}`;
  if (spoken !== news) by("spoken").textContent = spoken = news;
  showArms();
  by("network").hidden = !state.events.length;
  fillText(by("network-lines"), state.events);
}

function fillText(list, lines) {
  list.replaceChildren(...lines.toReversed().map((line) => made("li", {}, line)));
}

function showTime() {
  if (!state) return;
  const now = Date.now() / 1000;
  const parts = [];
  const since = state.updated === null ? null : now - state.updated;
  if (state.left !== null) parts.push(left(state.left - (since ?? 0)));
  if (since !== null) parts.push(state.state === "running" ? `last heard of ${duration(since)} ago` : `last line ${new Date(state.updated * 1000).toLocaleString()}`);
  if (state.resume) parts.push(`continue it with  ${state.resume}`);
  const text = parts.join(" · ");
  if (by("left").textContent !== text) by("left").textContent = text;
}

function left(seconds) {
  return seconds < 5 ? "nearly done" : `about ${duration(seconds)} left`;
}

function showArms() {
  const at = current();
  const rows = state.arms.map((one, place) => {
    const button = made("button", { type: "button" }, one.label);
    button.addEventListener("click", () => {
      chosen.arm = place;
      chosen.round = chosen.client = null;
      showArms();
      update();
    });
    const progress = one.rounds ? `${one.round} / ${one.rounds}` : String(one.round);
    const share = one.rounds ? one.round / one.rounds : 0;
    const score = one.score === null ? "–" : `${number(one.score)} (${one.score_of})`;
    const pace = one.seconds === null ? "–" : `${number(one.seconds, one.seconds < 10 ? 1 : 0)}`;
    const pill = { text: true, pill: one.state, value: one.state };
    return { key: one.label, head: button, chosen: place === at, cells: [pill, progress, { share }, { text: true, value: score }, pace, duration(one.left), { text: true, value: one.failure }] };
  });
  const failures = state.arms.some((one) => one.failure);
  const head = [state.kind === "run" ? "arm" : "cell", "state", "rounds", "", state.metric || "score", "s a round", "left", ...(failures ? ["why it failed"] : [])];
  if (!failures) rows.forEach((row) => row.cells.pop());
  fillTable(by("arms-table"), "", head, rows);
  [...by("arms-table").querySelectorAll("th button")].forEach((button, place) => button.setAttribute("aria-current", String(place === at)));
  by("arms-hint").hidden = state.arms.length < 2;
}

function showArm() {
  by("learning-title").textContent = state.arms.length > 1 ? `Learning: ${arm.label}` : "Learning";
  const left = arm.left_out ? `Of ${arm.clients.length + arm.left_out} hospitals the ${arm.clients.length} with the lowest scores are drawn; the mean is that of all.` : "";
  by("about").textContent = [arm.about, left].filter(Boolean).join(" ");
  showMetrics();
  showRounds();
  showLegend();
  showCharts();
  showHospitals();
  showCircles();
  showExamples();
  fillLog(by("log-lines"), arm.log, by("warnings").checked);
}

function showMetrics() {
  const select = by("metric");
  const key = JSON.stringify(arm.metrics);
  if (select.dataset.key !== key) {
    select.dataset.key = key;
    select.replaceChildren(...arm.metrics.map(({ name, title }) => made("option", { value: name }, title)));
  }
  select.value = arm.metric;
  select.disabled = arm.metrics.length < 2;
}

function showRounds() {
  const slider = by("round");
  slider.min = arm.rounds[0] ?? 0;
  slider.max = arm.rounds.at(-1) ?? 0;
  slider.disabled = arm.rounds.length < 2;
  if (chosen.round !== null && !arm.rounds.includes(chosen.round)) chosen.round = nearest(chosen.round);
  slider.value = chosen.round ?? slider.max;
  by("round-now").textContent = chosen.round === null ? `${slider.max} (latest)` : String(chosen.round);
  by("latest").disabled = chosen.round === null;
}

function nearest(round) {
  return arm.rounds.reduce((best, one) => (Math.abs(one - round) < Math.abs(best - round) ? one : best), arm.rounds[0] ?? null);
}

function showLegend() {
  const legend = by("legend");
  const key = JSON.stringify(arm.clients.map((client) => client.name));
  if (legend.dataset.key !== key) {
    legend.dataset.key = key;
    legend.replaceChildren(made("span", {}, swatch("mean"), "mean"), ...arm.clients.map((client, place) => {
      const button = made("button", { type: "button" }, swatch(style(place)), client.name);
      button.addEventListener("click", () => {
        chosen.client = chosen.client === place ? null : place;
        showLegend();
        showCharts();
        showHospitals();
      });
      return button;
    }));
  }
  [...legend.querySelectorAll("button")].forEach((button, place) => button.setAttribute("aria-pressed", String(chosen.client === place)));
}

// The drawings: validation at each evaluation point, and the training loss, each with its numbers as a table.
function drawings() {
  const title = arm.metrics.find(({ name }) => name === arm.metric)?.title ?? arm.metric;
  const scores = arm.scores.map((one) => ({ title: `Validation ${title} ${one.title}`, rounds: one.rounds, mean: one.mean, series: one.clients }));
  const losses = arm.clients.map((client) => client.loss ?? []);
  return [...scores, { title: "Training loss", rounds: arm.rounds, mean: arm.loss, series: losses }].filter((one) => one.rounds.length);
}

function showCharts() {
  const place = by("charts");
  const shown = drawings();
  const key = JSON.stringify(shown.map((one) => one.title));
  if (place.dataset.key !== key) {
    place.dataset.key = key;
    place.replaceChildren(...shown.map((one) => {
      const table = made("div", { class: "scroll tall", tabindex: "0", role: "region", "aria-label": `${one.title} as a table` }, made("table"));
      return made("figure", { class: "block" }, made("h3", {}, one.title), drawn("svg", { class: "drawing" }), made("details", {}, made("summary", {}, "As a table"), table));
    }));
  }
  if (!shown.length) place.replaceChildren(made("p", { class: "quiet" }, "The first round is not finished yet."));
  shown.forEach((one, turn) => showChart(place.children[turn], one));
}

function showChart(figure, { title, rounds, mean, series }) {
  const cursor = chosen.round === null ? null : rounds.filter((round) => round <= chosen.round).at(-1) ?? null;
  const curves = series.map((values, place) => ({ values, place })).filter(({ values }) => values.length);
  const label = `${title} by round; after round ${rounds.at(-1)} the mean is ${number(mean.at(-1), arm.decimals)}.`;
  lineChart(figure.querySelector("svg"), { rounds, mean, curves, chosen: chosen.client, cursor, label });
  const rows = rounds.map((round, place) => ({ key: String(round), cells: [mean, ...curves.map(({ values }) => values)].map((values) => number(values[place], arm.decimals)) })).toReversed();
  fillTable(figure.querySelector("table"), title, ["round", "mean", ...curves.map(({ place }) => arm.clients[place].name)], rows);
}

function showHospitals() {
  const round = chosen.round ?? arm.rounds.at(-1);
  const at = arm.rounds.indexOf(round);
  const has = (key) => arm.clients.some((client) => client[key]);
  const circles = new Map(arm.circles?.clients.map((client) => [client.name, client.circles[arm.circles.rounds.indexOf(round)]]));
  const columns = [["modality", (client) => ({ text: true, value: client.group })], ["images", (client) => number(client.train, 0)]];
  if (has("loss")) columns.push(["loss", (client) => number(client.loss?.[at])]);
  for (const one of arm.scores) {
    const place = one.rounds.findLastIndex((number) => number <= round);
    columns.push([`validation ${one.title}`, (_, turn) => number(one.clients[turn][place], arm.decimals)]);
  }
  for (const one of arm.test) columns.push([`test ${one.title}`, (_, turn) => number(one.clients[turn], arm.decimals)]);
  if (has("seconds")) columns.push(["seconds", (client) => number(client.seconds?.[at], 2)]);
  if (has("accepted")) columns.push(["accepted", (client) => number(client.accepted?.[at], 2)]);
  if (circles.size) columns.push(["circle", (client) => String(circles.get(client.name) ?? "alone")]);
  const rows = arm.clients.map((client, turn) => ({ key: client.name, chosen: turn === chosen.client, cells: columns.map(([, cell]) => cell(client, turn)) }));
  fillTable(by("hospitals-table"), "", ["hospital", ...columns.map(([name]) => name)], rows);
  by("hospitals-hint").textContent = round === undefined ? "" : `After round ${round}.`;
  const slowest = Math.max(...arm.speed.clients.map((one) => one.seconds), 1e-9);
  by("speed").hidden = !arm.speed.clients.length;
  by("speed-sentence").textContent = arm.speed.sentence;
  const bars = arm.speed.clients.map((one) => ({ key: one.name, cells: [number(one.seconds, 2), { share: one.seconds / slowest }] }));
  fillTable(by("speed-table"), "", ["hospital", "seconds", ""], bars);
}

function showCircles() {
  const { circles } = arm;
  by("circles").hidden = !circles;
  if (!circles) return;
  by("circles-sentence").textContent = circles.sentence;
  const place = by("circles-chart");
  if (!place.firstChild) place.append(drawn("svg", { class: "drawing" }));
  place.hidden = !circles.rounds.length;
  if (circles.rounds.length) circleChart(place.firstChild, { ...circles, label: circles.sentence });
  const rows = circles.rows.map(([name, group, ...cells]) => ({ key: name, cells: [{ text: true, value: group }, ...cells] }));
  fillTable(by("circles-table"), "", circles.head, rows);
}

function showExamples() {
  const place = by("examples-shown");
  const key = JSON.stringify([arm.label, arm.examples]);
  by("examples-hint").textContent = arm.examples.length ? `Test examples and what ${arm.label} made of them.` : "Test examples appear here when the arm has been tested.";
  if (place.dataset.key === key) return;
  place.dataset.key = key;
  fillExamples(place, arm.examples);
}

by("metric").addEventListener("change", (event) => {
  chosen.metric = event.target.value;
  update();
});
by("round").addEventListener("input", (event) => {
  chosen.round = nearest(Number(event.target.value));
  if (chosen.round === arm.rounds.at(-1)) chosen.round = null;
  showRounds();
  showCharts();
  showHospitals();
});
by("latest").addEventListener("click", () => {
  chosen.round = null;
  showRounds();
  showCharts();
  showHospitals();
});
by("warnings").addEventListener("change", () => arm && fillLog(by("log-lines"), arm.log, by("warnings").checked));
new ResizeObserver(() => {
  if (!arm) return;
  showCharts();
  showCircles();
}).observe(document.querySelector("main"));
document.addEventListener("visibilitychange", () => document.hidden || update());
setInterval(showTime, 1000);
follow();
