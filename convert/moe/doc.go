// Package moe merges models of the same shape into a mixture of experts, as
// mergekit-moe does, from the same recipes.
//
// A merge recipe (not to be confused with those of types, of package quant/recipe) names a base model, from which comes everything but the feed-forward
// networks, and for each expert a model, which gives these, and prompts, from
// which the rows of the routers are made. A [Merge] is the result as a checkpoint
// that is in no file: its tensors are read from the models when they are asked
// for, so it takes no memory but that of the routers. Package convert makes it a
// GGUF model, and [Merge.Write] a directory.
//
// Mixtral and DeepSeek MoE are made of Llama and Mistral models, Qwen MoE of these
// or Qwen2 models, Qwen3 MoE of Qwen3 models: each in its file, by mergekit-moe's
// rules. What does not fit together is an error before anything is computed:
// sizes, rotary embeddings, norms, vocabularies, identical prompts and routers.
// mergekit-moe checks little of that.
//
//	recipe, err := moe.Read("moe.yaml")
//	if err != nil {
//		return err
//	}
//	m, err := moe.New(ctx, recipe, moe.Options{Encoder: encoder})
package moe
