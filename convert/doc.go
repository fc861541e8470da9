// Package convert opens models, whatever they are kept in, as the GGUF files that they are or
// would become: [OpenModel] makes a [gguf.Source] of a GGUF file, of a Hugging Face
// directory (package convert/hf) or of a merge recipe (package convert/moe).
//
//	m, err := convert.OpenModel(ctx, "Beyonder-4x7B-v2", convert.Options{})
//	if err != nil {
//		return err
//	}
//	defer m.Close()
//	_, err = gguf.Write(ctx, "beyonder.gguf", m, gguf.WriteOptions{})
//	return err
package convert
