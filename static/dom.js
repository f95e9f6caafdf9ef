// Small helpers: elements, numbers with units. Text from data only ever becomes text nodes.

export const $ = (id) => document.getElementById(id)

export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") node.className = value
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value)
    else if (value === true) node.setAttribute(name, "")
    else if (value !== false && value != null) node.setAttribute(name, value)
  }
  node.append(...children.filter((c) => c != null))
  return node
}

export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag)
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value)
  node.append(...children)
  return node
}

export const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim()
export const whole = (n) => Math.round(n).toLocaleString("en").replaceAll(",", "\u202f")
export const fixed = (n, digits) => (n == null || Number.isNaN(n) ? "–" : n.toFixed(digits))

export function duration(seconds) {
  if (seconds == null) return ""
  const s = Math.round(seconds)
  if (s < 3600) return `${Math.floor(s / 60)}:${String(s % 60).padStart(2, "0")}`
  return `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, "0")} min`
}

export function short(n) {
  const size = Math.abs(n)
  if (n === 0) return "0"
  if (size >= 0.001 && size < 999.5) return n.toPrecision(3)
  const [mantissa, exponent] = n.toExponential(2).split("e")
  return `${mantissa}·10${[...exponent.replace("+", "")].map((c) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[c] ?? "⁻").join("")}`
}

export function bytes(n) {
  return n < 1000 ? `${Math.round(n)} B` : n < 1e6 ? `${(n / 1e3).toFixed(n < 1e4 ? 1 : 0)} kB` : `${(n / 1e6).toFixed(1)} MB`
}

// call when a screen pixel gets another size, by zoom or on another screen; gives back how to stop
export function onRatio(call) {
  let query
  const stop = () => { query.onchange = null } // it would hear of a return to its ratio, too
  const watch = () => {
    query = matchMedia(`(resolution: ${devicePixelRatio}dppx)`)
    query.onchange = () => { stop(); watch(); call() }
  }
  watch()
  return () => stop()
}

let hiding
export function toast(sentence) {
  const node = $("toast")
  node.textContent = sentence
  node.classList.add("on")
  clearTimeout(hiding)
  hiding = setTimeout(() => node.classList.remove("on"), 5000)
}

// one tooltip for the page: `data-tip` says what question a figure answers
export function tips() {
  const tip = $("tip")
  const show = (event) => {
    const target = event.target.closest?.("[data-tip]")
    tip.hidden = !target
    if (!target) return
    tip.textContent = target.dataset.tip
    const box = target.getBoundingClientRect()
    const left = Math.min(Math.max(box.left, 8), innerWidth - tip.offsetWidth - 8)
    const below = box.bottom + 8 + tip.offsetHeight < innerHeight
    tip.style.left = `${left}px`
    tip.style.top = `${below ? box.bottom + 8 : box.top - tip.offsetHeight - 8}px`
  }
  document.addEventListener("pointerover", show)
  document.addEventListener("focusin", show)
  document.addEventListener("focusout", () => { tip.hidden = true })
}
