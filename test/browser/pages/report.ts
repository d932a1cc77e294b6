// What every page of the tests does: runs its program, and sends what came out, and whatever went wrong meanwhile, to the server
// that the page came from (site.ts).

import type { PageReport } from './page-report.ts'

/** Runs the program of a page. It returns something that JSON can hold. */
export async function report(program: () => unknown): Promise<void> {
  const problems: string[] = []
  addEventListener('error', ({ message }) => problems.push(message))
  addEventListener('unhandledrejection', ({ reason }) => problems.push(`${reason}`))
  document.addEventListener('securitypolicyviolation', ({ effectiveDirective, blockedURI }) =>
    problems.push(`${effectiveDirective} stopped ${blockedURI}`),
  )
  let body: PageReport
  try {
    body = { result: await program(), problems }
  } catch (error) {
    // Some browsers' stacks begin with the message, others' have none.
    body = { error: error instanceof Error ? `${error}\n${error.stack}` : String(error), problems }
  }
  await new Promise((resolve) => setTimeout(resolve)) // the events above come later than what they are about
  await fetch('/report', { method: 'POST', body: JSON.stringify(body) })
}
