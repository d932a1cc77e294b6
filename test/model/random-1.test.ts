// Random programs, part 1 of 2: see shard.ts.

import { testShard } from './shard.ts'

testShard(0)
