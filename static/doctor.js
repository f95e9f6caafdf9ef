// What the machine has, what this browser has, and what to install.
import {$, el, toast} from "./dom.js"
import {findAdapter} from "./adapter.js"

export async function drawDoctor(ask) {
  try {
    const {findings, runs, texts} = await ask("doctor")
    const rows = [...findings, await browser(), {kind: "folder", name: "runs", found: true, detail: runs}, {kind: "folder", name: "texts", found: true, detail: texts}]
    $("doctor-table").replaceChildren(el("table", {}, el("thead", {}, el("tr", {}, ...["", "what", "found", "to get it"].map((t) => el("th", {}, t)))),
      el("tbody", {}, ...rows.map((f) => el("tr", {}, el("td", {class: f.found ? "yes" : "no"}, f.found ? "yes" : "no"), el("td", {}, f.name), el("td", {class: "wrap"}, f.detail),
        el("td", {class: "wrap"}, f.remedy ? el("code", {}, f.remedy) : ""))))))
  } catch (error) {
    toast(error.message)
  }
}

async function browser() {
  const why = await findAdapter().then(() => "", (error) => error.message)
  return {kind: "browser", name: "this browser's GPU", found: !why, detail: why || "WebGPU is here", remedy: why && "a current Chrome, Edge, Firefox or Safari on a machine with a GPU"}
}
