// Does what the content security policy of the tests forbids, to show that it is in force.

import { report } from './report.ts'

await report(() => new Function('return 1')())
