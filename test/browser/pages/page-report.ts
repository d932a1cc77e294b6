// What a page of the tests sends to the test that opened it.

export interface PageReport {
  /** What the program of the page returned, as JSON. */
  readonly result?: unknown
  /** What it threw. */
  readonly error?: string
  /** Errors that nobody caught, and what the content security policy has stopped. */
  readonly problems: readonly string[]
}
