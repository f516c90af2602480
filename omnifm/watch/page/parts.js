// Parts of the page that are not drawn: words, tables, pictures and the log. Text is always set as text, never as markup.

export function made(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

export function number(value, decimals = 3) {
  return value === null || value === undefined ? "–" : value.toFixed(decimals).replace("-", "−");
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 100) return `${whole} s`;
  const minutes = Math.round(whole / 60);
  if (minutes < 100) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.round(hours / 24)} days`;
}

export function clock(seconds) {
  return seconds === null ? "" : new Date(seconds * 1000).toLocaleTimeString();
}

// Fill a table; where its rows are as before only what changed is written, so that focus and place stay.
// A cell is text, {text: true, value} for words, or {share} for a bar. `head` of a row may be a node.
export function fillTable(table, caption, head, rows) {
  const key = JSON.stringify([caption, head, rows.map((row) => row.key)]);
  if (table.dataset.key !== key) {
    table.dataset.key = key;
    const line = made("tr", {}, ...head.map((name) => made("th", { scope: "col" }, name)));
    [...line.cells].forEach((cell, at) => (at === 0 || rows[0]?.cells[at - 1]?.text) && cell.classList.add("text"));
    const body = made("tbody", {}, ...rows.map((row) => {
      const cells = row.cells.map((cell) => made("td", cell?.text ? { class: "text" } : cell?.share !== undefined ? { class: "bar" } : {}));
      return made("tr", {}, made("th", { scope: "row" }, row.head ?? row.key), ...cells);
    }));
    table.replaceChildren(...(caption ? [made("caption", {}, caption)] : []), made("thead", {}, line), body);
  }
  rows.forEach((row, place) => {
    const line = table.tBodies[0].rows[place];
    line.className = row.chosen ? "chosen" : "";
    row.cells.forEach((cell, at) => setCell(line.cells[at + 1], cell));
  });
  return table;
}

function setCell(node, cell) {
  if (cell?.share !== undefined) {
    if (!node.firstChild) node.append(made("span", { "aria-hidden": "true" }));
    node.firstChild.style.width = `${(100 * cell.share).toFixed(1)}%`;
  } else if (cell?.pill) {
    const pill = node.firstChild ?? node.appendChild(made("span", { class: "pill" }));
    pill.dataset.state = cell.pill;
    if (pill.textContent !== cell.value) pill.textContent = cell.value;
  } else {
    const text = cell?.value ?? cell ?? "";
    if (node.textContent !== text) node.textContent = text;
  }
}

function sign(right) {
  if (right === null) return [];
  const mark = made("span", { class: right ? "plus" : "minus" }, right ? "✓ " : "✗ ");
  mark.append(made("span", { class: "spoken" }, right ? "right: " : "wrong: "));
  return [mark];
}

function picture(shown, alt) {
  const size = { src: `picture/${shown.digest}`, width: shown.width, height: shown.height, alt };
  return made("img", shown.crisp ? { ...size, class: "crisp" } : size);
}

function example(one, client) {
  const figure = made("figure");
  for (const given of one.given) {
    const title = given.title ? [made("p", { class: "quiet" }, given.title)] : [];
    figure.append(made("div", {}, ...title, picture(given, `Test example of ${client}${given.title ? `: ${given.title}` : ""}`)));
  }
  for (const found of one.made) {
    const words = found.caption ? [made("p", {}, ...sign(found.right), found.caption)] : [];
    figure.append(made("div", {}, made("p", { class: "quiet" }, found.title || "made"), picture(found, `${found.title || "made"} for ${client}`), ...words));
  }
  const said = one.said.map((words) => made("p", {}, ...sign(words.right), words.caption));
  const asked = one.question ? [made("p", {}, made("b", {}, one.question))] : [];
  if (asked.length || said.length) figure.append(made("figcaption", {}, ...asked, ...said));
  return figure;
}

export function fillExamples(place, clients) {
  place.replaceChildren(...clients.map(({ client, examples }, turn) => {
    const form = examples[0].made.length || examples[0].given.length > 1 ? "strips" : examples[0].question ? "askeds" : "cards";
    const shown = made("div", { class: `pictures ${form}` }, ...examples.map((one) => example(one, client)));
    const folded = made("details", turn < 3 ? { open: "" } : {}, made("summary", {}, client), shown);
    return folded;
  }));
}

// The newest line first. Of a line: round, time, text, warns.
export function fillLog(list, lines, warningsOnly) {
  const shown = lines.filter((line) => line.warns || !warningsOnly).toReversed();
  const key = JSON.stringify([shown.length, shown[0], warningsOnly]);
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  list.replaceChildren(...shown.map((line) => {
    const place = made("span", { class: "number" }, `round ${line.round}`);
    return made("li", {}, made("time", {}, clock(line.time)), " ", place, ": ", made("span", line.warns ? { class: "warns" } : {}, line.text));
  }));
  if (!shown.length) list.append(made("li", { class: "quiet" }, warningsOnly ? "No warnings." : "Nothing yet."));
}
