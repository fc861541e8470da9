// Package report tells people and programs what was measured of a model: how far each way to
// quantize it takes it from the original ([Drift]), which of them to use ([Choice]), how well it
// predicts a text ([Perplexity]), what the routers of a mixture do ([Doctor]), what an importance
// matrix has seen ([Imatrix]), what the types cost ([Types]), and what is in a file ([Inspection]).
//
// A report is its JSON: the exported fields of its type, whose names and meaning stay. Print shows it on
// a terminal, Markdown writes it for a model card, and Page as an HTML page that needs nothing else:
// no script, no font, no other file. What of these a report has depends on who reads it.
//
// Packages drift, choose, perplexity and routing measure; here is only what their results mean and
// how they look. A report can be read back from JSON and shown again.
//
//	r := report.Drift{Model: "model.gguf", Ctx: 512, Compute: "exact", Texts: []report.Text{{File: "chat.txt"}}}
//	if err := r.Add(base, candidates, measured); err != nil {
//		return err
//	}
//	page, err := r.Page()
package report
