// Figures as people read them. Sizes are formatted by base/size.ts.

import type { TimeUnit } from '../trace/tracer.ts'

const UNITS = [
  { name: 's', us: 1e6 },
  { name: 'ms', us: 1e3 },
  { name: 'µs', us: 1 },
] as const

/** Three digits and the unit that fits: '1.25 ms', '840 µs', '2 min 5 s'; of a trace without a clock '12 steps'. */
export function formatTime(time: number, unit: TimeUnit): string {
  if (unit === 'step') return `${formatCount(time)} ${time === 1 ? 'step' : 'steps'}`
  if (time === 0) return '0'
  if (time >= 60e6) {
    const seconds = Math.round(time / 1e6)
    return `${Math.floor(seconds / 60)} min ${seconds % 60} s`
  }
  const { name, us } = UNITS.find((each) => time >= each.us) ?? UNITS[2]
  return `${Number((time / us).toPrecision(3))} ${name}`
}

/** '1,234,567'; what is not whole has three digits. */
export function formatCount(count: number): string {
  const shown = Number.isInteger(count) ? count : Number(count.toPrecision(3))
  return shown.toLocaleString('en-US', { maximumFractionDigits: 20 })
}

/** '12 %', and '< 1 %' for what is there and rounds to nothing. */
export function formatPart(part: number): string {
  const percent = Math.round(100 * part)
  return percent === 0 && part > 0 ? '< 1 %' : `${percent} %`
}

/** '1 launch', '12 launches'. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${formatCount(count)} ${count === 1 ? one : many}`
}
