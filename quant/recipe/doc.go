// Package recipe has the recipes of types: it decides which tensor of a model gets
// which type when a file type such as Q4_K_M is asked for, as llama-quantize does.
//
// A file type ([FileType]) is mostly its base type, but some tensors get more
// bits or fewer, depending on what they are, on the layer, and on the number of
// heads and experts. Those rules are tables in rules.go; which tensors are
// touched at all is in quantizable.go; the file types are in filetype.go.
//
// [Plan] needs names, types and shapes only, no weights. It follows
// llama-quantize 0.7.0 (October 2026), whose flags are [Options]; earlier
// versions had other rules for attn_qkv and attn_kv_b, and overrides that were
// the base type did not count.
//
// An [Override] gives tensors a type by a pattern. Tensors it takes are not
// counted by the rules, so that others may change their type with it. [Lint]
// finds overrides that do nothing. [Prune] takes layers out of a model.
//
//	override, err := recipe.ParseOverride(`blk\.[0-3]\.ffn_down=q6_k`)
//	if err != nil {
//		return err
//	}
//	types, err := recipe.Plan(src.Metadata(), src.Tensors(), recipe.Q4_K_M, recipe.Options{
//		Overrides: []recipe.Override{override},
//	})
package recipe
