// Reports: from a trace to figures (builder.ts), and from figures to a page (page.ts). Start with model.ts.

export { ReportBuilder } from './builder.ts'
export type { ReportModel } from './model.ts'
export { renderReport } from './page.ts'
