// The spectrum of what is painted, beside the canvas: at most ten pictures a second, drawn where the paint is.
import {$} from "./dom.js"

const PAUSE = 100 // ms between two pictures
const LOUD = -60 // dB from which a wave is worth naming

export class Spectral {
  constructor() {
    this.canvas = $("paint-spectrum-picture")
    this.target = this.canvas.getContext("bitmaprenderer")
    this.wanted = false
  }

  // follow a surface while it is shown
  attach(surface) {
    this.surface = surface
    surface.addEventListener("change", () => this.draw())
    this.draw()
  }

  show(shown) {
    if ($("paint-spectrum").hidden === !shown) return
    $("paint-spectrum").hidden = !shown
    this.draw()
  }

  async draw() {
    this.wanted = true
    if (this.drawing || !this.surface) return
    this.drawing = true
    try {
      while (this.wanted && !$("paint-spectrum").hidden) {
        this.wanted = false
        const {picture, decibels, columns, rows} = await this.surface.spectrum()
        Object.assign(this.canvas, {width: columns, height: rows})
        this.target.transferFromImageBitmap(picture)
        $("paint-spectrum-says").textContent = strongest(decibels, columns, rows)
        await new Promise((resolve) => setTimeout(resolve, PAUSE))
      }
    } finally {
      this.drawing = false
    }
  }
}

// the loudest wave in words; of each and its mirror image the one that goes up
function strongest(values, columns, rows) {
  const middle = Math.floor(rows / 2) * columns + Math.floor(columns / 2)
  let best = middle
  values.forEach((value, i) => { if (i > middle && (best === middle || value > values[best])) best = i })
  const across = (best % columns) - Math.floor(columns / 2), up = Math.floor(best / columns) - Math.floor(rows / 2)
  if (best === middle || values[best] < LOUD) return "Nothing but its mean is painted: paint, and its waves show here."
  return `strongest wave: ${Math.abs(across)} cycles along the phases, ${up} up the bands, ${values[best].toFixed(0)} dB`
}
