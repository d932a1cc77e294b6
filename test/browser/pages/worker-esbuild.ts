// For bundlers that leave workers alone: the worker is another entry point of the bundle, and is named as it will be served.

import { refusalOfMissing, useEngineIn } from './engine-in-worker.ts'
import { report } from './report.ts'

await report(async () => ({
  used: await useEngineIn(new Worker('/engine.js', { type: 'module' })),
  missing: await refusalOfMissing(),
}))
