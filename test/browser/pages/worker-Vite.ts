// For bundlers that know workers: they find this form, and bundle what it names.

import { refusalOfMissing, useEngineIn } from './engine-in-worker.ts'
import { report } from './report.ts'

await report(async () => ({
  used: await useEngineIn(new Worker(new URL('./engine.ts', import.meta.url), { type: 'module' })),
  missing: await refusalOfMissing(),
}))
