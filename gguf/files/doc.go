// Package files opens the files that are read and makes those that are written, for
// all of this module.
//
// What is read must be a regular file: [Open] refuses FIFOs, devices, sockets and
// directories by what they are, and does not wait for them. An open [File] can tell
// whether somebody changed it meanwhile. A part of it can be mapped ([File.Map]) and,
// within [Guard], touched, whatever becomes of the file. What is read may also be an
// [Object] elsewhere, and a [Folder] is where files are found by their names: a directory,
// or what stands for one.
//
// What is written appears whole or not at all: [Create] makes it in the same directory
// under a name that nobody can foresee, and [Output.Publish] syncs and renames it. Only
// regular files are ever replaced, and only where the caller allows it; never one that
// is read. A symbolic link stays what it is: the file that it leads to is the output. A
// file that is replaced passes on its mode and, as far as the system lets it, its owner.
// What a killed run leaves behind is removed by the next one with the same output.
//
//	out, err := files.Create("model.gguf", false)
//	if err != nil {
//		return err
//	}
//	defer func() { err = errors.Join(err, out.Discard()) }()
//	if _, err := out.Write(data); err != nil {
//		return err
//	}
//	return out.Publish()
//
// Limits: extended attributes and access lists of replaced files are not kept; on
// Windows, leftovers of killed runs stay.
package files
