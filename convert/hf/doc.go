// Package hf shows a checkpoint, a Hugging Face directory, as the GGUF file it would
// become, without writing anything: [Open] makes a [gguf.Source] of it.
//
// Metadata, tensor order, types and bytes are those that convert_hf_to_gguf.py
// of llama.cpp writes. What goes beyond it: Mixtral checkpoints with fused
// experts are read, and what does not fit together (an index and its shards,
// config.json and the tensors) is an error before any data is read.
//
// Architectures are those of package convert/arch, vocabularies those of
// convert/vocab, tensors come from safetensors files only. Of quantized
// checkpoints those are read that convert/packed unpacks.
//
// Opening reads headers and the small files, so it takes the same time for any
// model. Rows are read, reordered and converted when they are asked for, a few of
// them at a time.
//
//	c, err := hf.Open("Beyonder-4x7B-v2", hf.Options{Type: new(gguf.Q8_0)})
//	if err != nil {
//		return err
//	}
//	defer c.Close()
//	_, err = gguf.Write(ctx, "beyonder.gguf", c, gguf.WriteOptions{})
//	return err
package hf
