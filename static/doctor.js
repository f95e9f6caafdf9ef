// What the machine has, what this browser has, and what to install.
import {$, el, toast} from "./dom.js"

export async function drawDoctor(ask) {
  try {
    const {findings, runs, texts} = await ask("doctor")
    const rows = [...findings, browser(), {kind: "folder", name: "runs", found: true, detail: runs}, {kind: "folder", name: "texts", found: true, detail: texts}]
    $("doctor-table").replaceChildren(el("table", {}, el("thead", {}, el("tr", {}, ...["", "what", "found", "to get it"].map((t) => el("th", {}, t)))),
      el("tbody", {}, ...rows.map((f) => el("tr", {}, el("td", {class: f.found ? "yes" : "no"}, f.found ? "yes" : "no"), el("td", {}, f.name), el("td", {class: "wrap"}, f.detail),
        el("td", {class: "wrap"}, f.remedy ? el("code", {}, f.remedy) : ""))))))
  } catch (error) {
    toast(error.message)
  }
}

function browser() {
  const gpu = Boolean(navigator.gpu)
  const why = gpu ? "WebGPU is here" : isSecureContext ? "no WebGPU in this browser" : "an insecure origin has no WebGPU: open the page at localhost or over https"
  return {kind: "browser", name: "this browser's GPU", found: gpu, detail: why, remedy: gpu ? "" : "a current Chrome, Edge, Firefox or Safari on a machine with a GPU"}
}
