// Why a heap cannot be live here. Says it in words that a program may print.

/** The reason. */
export function whyNotLive(): string {
  const { process } = globalThis as { process?: { platform?: string; versions?: { node?: string } } }
  if (process?.versions?.node === undefined) return 'real page faults need Node on Linux'
  if (process.platform !== 'linux') return `real page faults need Linux, and this is ${process.platform}`
  return 'this version has no engine for real page faults yet'
}
