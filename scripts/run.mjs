// The door to every command of package.json: `node scripts/run.mjs COMMAND [ARGS...]`. Plain Node and nothing else, so
// that it works in a clone without node_modules: it sets up what is missing, builds when the command needs it, runs
// the command with the given arguments, and ends with its exit status.

const NODE_WANTED = [20, 19]
const [command = '', ...args] = process.argv.slice(2)

const [major, minor] = process.versions.node.split('.').map(Number)
if (major > NODE_WANTED[0] || (major === NODE_WANTED[0] && minor >= NODE_WANTED[1])) {
  // Loaded only now: an older Node could not even read these files.
  const { runCommand } = await import('./commands.mjs')
  process.exitCode = await runCommand(command, args)
} else {
  console.error(`hetmem needs Node ${NODE_WANTED.join('.')} or later; this is Node ${process.versions.node}`)
  process.exitCode = 1
}
