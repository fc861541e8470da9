// Package convert opens models, whatever they are kept in, as the GGUF files that they are or
// would become, and writes them. [OpenModel] makes a [gguf.Source] of a GGUF file, of a
// Hugging Face directory (package convert/hf) or of a merge recipe (package convert/moe);
// [ToGGUF] goes from there to a file of any type in one call:
//
//	paths, err := convert.ToGGUF(ctx, "Beyonder-4x7B-v2", "beyonder-Q4_K_M.gguf", recipe.Q4_K_M, convert.OutputOptions{})
//
// It reads, converts, quantizes and writes piece by piece, so memory does not depend on the size
// of the model.
package convert
