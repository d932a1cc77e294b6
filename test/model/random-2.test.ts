// Random programs, part 2 of 2: see shard.ts.

import { testShard } from './shard.ts'

testShard(1)
