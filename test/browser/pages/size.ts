// Uses one small function of the package: the rest should not be in its bundle.

import { formatSize } from 'hetmem'
import { report } from './report.ts'

await report(() => formatSize(2 ** 20))
