// Without cross-origin isolation there is no memory that a worker could share.

import { openHeap } from 'hetmem'
import { report } from './report.ts'

await report(() => openHeap({ engine: new Worker('/engine.js') }).catch((error: Error) => error.message))
