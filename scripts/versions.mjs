// The examples and all programs in the documents, as they stand, on other versions of Node:
//
//   npm run versions                      22, 24 and 26
//   npm run versions -- 24 /opt/node/bin/node
//
// One line for each. Exit status 1 if anything failed, or if a version is not to be had.

import { findNode, reported, testOn } from './other-node.mjs'

/** What is supported besides the oldest, which `npm test` is for. */
const VERSIONS = ['22', '24', '26']

const FILTERS = ['examples/', 'test/docs/code-blocks']

let failed = false
for (const node of process.argv.length > 2 ? process.argv.slice(2) : VERSIONS) {
  const isGood = await reported(async () => {
    const found = await findNode(node)
    return await testOn(found, { label: `node ${found.version}`, project: 'examples', filters: FILTERS })
  })
  failed = !isGood || failed
}
process.exitCode = failed ? 1 : 0
