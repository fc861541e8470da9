// Package safetensors reads tensors from safetensors files and from checkpoint
// directories made of them.
//
// A file is a length, a JSON header that gives every tensor's data type, shape
// and place, and the data (https://github.com/huggingface/safetensors).
// [NewFile] reads only the header; data is read when it is asked for, any rows at
// a time. [OpenDir] shows the files of a directory as one [Checkpoint], after
// checking them against model.safetensors.index.json if there is one. Both are a
// [weights.Set], and [Write] writes any such set.
//
// Files are not trusted. The header must be what its length says and at most
// 100 MB; names must be unique; the tensors must fill the rest of the file
// without gaps or overlaps, each with exactly the bytes its shape needs; shards
// named by an index must lie in its directory. What breaks a rule is an error
// that wraps [gguf.ErrCorrupt] and names the file, the tensor and the offset.
// Pickle files (pytorch_model.bin) can run code when they are loaded and are
// never opened.
//
//	c, err := safetensors.OpenDir("Mistral-7B-v0.1")
//	if err != nil {
//		return err
//	}
//	defer c.Close()
//	for _, name := range c.Names() {
//		fmt.Println(name, c.Get(name).Dtype(), c.Get(name).Shape())
//	}
package safetensors
