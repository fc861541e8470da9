// Package publish makes the files of a model that are published together, in a directory that tells later runs what is
// whole: one reading of the model for all types, each with its checksum.
//
//	folder, err := publish.Open("mistral-GGUF")
//	if err != nil {
//		return err
//	}
//	defer folder.Close()
//	set, err := publish.NewSet("mistral", model, types, publish.Options{})
//	if err != nil {
//		return err
//	}
//	if err := set.Look(ctx, folder, false); err != nil {
//		return err
//	}
//	err = set.Write(ctx, folder, gguf.WriteOptions{})
//
// A file that was made here before is recognised by its SHA-256, and by the facts that it was made of: a [Folder] keeps both.
// Several processes may make parts of the files each ([OpenPart], Options.Share): every one keeps its own record, and whoever comes after them reads all.
//
// What was not made here is never replaced unless the caller says so, and nothing is removed.
package publish
