// A vitest reporter beside the usual one. It says what was skipped and why, a line per reason, so that skipping
// hides nothing; and it leaves the counts for `npm test` in the file that HETMEM_TEST_SUMMARY names.

import { writeFileSync } from 'node:fs'
import { relative } from 'node:path'

export default class Summary {
  onInit(vitest) {
    this.root = vitest.config.root
    this.filtered = vitest.config.testNamePattern !== undefined // what -t left out is no news
  }

  onTestRunEnd(modules) {
    const counts = { passed: 0, failed: 0, skipped: 0 }
    const skips = new Map()
    for (const module of modules) {
      for (const test of module.children.allTests()) {
        const { state, note } = test.result()
        if (state in counts) counts[state]++
        if (state !== 'skipped' || this.filtered) continue
        const place = `${relative(this.root, module.moduleId)} > ${test.fullName}`
        const reason = note ?? reasonOfSuite(test) ?? `no reason given: ${place}`
        skips.set(reason, (skips.get(reason) ?? 0) + 1)
      }
    }
    const lines = [...skips].sort().map(([reason, count]) => `skipped ${count}: ${reason}`)
    for (const line of lines) console.log(line)
    const file = process.env.HETMEM_TEST_SUMMARY
    if (file !== undefined) writeFileSync(file, JSON.stringify({ ...counts, skips: lines }))
  }
}

/** A suite that is skipped as a whole says why in its title: `live: no userfaultfd`. */
function reasonOfSuite(test) {
  for (let suite = test.parent; suite?.type === 'suite'; suite = suite.parent) {
    const [, reason] = /^[\w-]+: (.+)$/.exec(suite.name) ?? []
    if (suite.options.mode === 'skip' && reason !== undefined) return reason
  }
  return undefined
}
