// Package eval scores models on benchmarks as lm-evaluation-harness does, to the prompt and the token, and
// compares other forms of a model on the same documents, which the harness cannot.
//
//	p := eval.DefaultProfile()
//	chosen, err := p.Select([]string{"arc_easy", "winogrande:5"}, -1)
//	if err != nil {
//		return err
//	}
//	found, err := p.Run(ctx, []*infer.Model{original, q4}, vocab, chosen, &eval.Data{Dir: "data"}, eval.Options{MaxLength: 4096})
//	if err != nil {
//		return err
//	}
//	fmt.Println(found.Models[0].Results[0].Score().Value)
//
// A [Profile] is a version of the harness: it says which tasks there are, in which order documents are asked, which examples are
// shown before them, how prompts are written, cut and continued, and how figures are averaged. A [Task] is data: where its
// documents are, how one is asked, and its figures. Tasks of a family are in a file; families lists them.
//
// Documents are read from a directory ([Data]); nothing is fetched. Models answer side by side, in one pass
// (package score). Answers can be kept in a file ([Kept]), so that a run that was killed goes on.
//
// Left out are tasks of other data than the cards of models have, groups that are averages of averages, and the
// harness' bootstrap, which no figure of these tasks needs.
package eval
