// Package faults has a file system whose operations fail on demand, for tests of what the command does then. It shows a directory
// of another file system, through FUSE: Linux, and root or fusermount3, are needed. It is a module of its own since nobody else
// needs one.
//
//	fsys, err := faults.Mount(dir, mountpoint, faults.Options{})
//	fsys.Arm(faults.Fault{Operation: faults.Write, N: 3, Error: syscall.ENOSPC, Stays: true})
//
// The mount point must not be touched by the process that serves it: it looks at the directory below.
package faults

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Operation is a kind of request that a file system gets.
type Operation string

// The operations that are counted, and may fail.
const (
	Stat      Operation = "stat" // of a path, or of an open file
	List      Operation = "list"
	Open      Operation = "open"
	Read      Operation = "read"
	ShortRead Operation = "short read" // counts reads, of which one returns half; with Options.Direct
	Write     Operation = "write"
	Sync      Operation = "sync"
	Close     Operation = "close"
	Create    Operation = "create"
	Mkdir     Operation = "mkdir"
	Allocate  Operation = "allocate"
	SetAttr   Operation = "setattr" // mode, owner, or length
	Rename    Operation = "rename"
	Link      Operation = "link"
	Remove    Operation = "remove"
)

// Fault is what goes wrong.
type Fault struct {
	Operation Operation
	N         int           // which one, from 1 on
	Error     syscall.Errno // of no meaning for ShortRead
	Stays     bool          // all after it fail, too, as on a disk that is full
}

func (f Fault) String() string {
	stays := ""
	if f.Stays {
		stays = ", and all after it"
	}
	return fmt.Sprintf("%s %d%s: %v", f.Operation, f.N, stays, f.Error)
}

// Options say how the file system is.
type Options struct {
	// Direct has every read and write of a program come here as it is. Otherwise the kernel reads ahead, and files can be mapped.
	Direct bool
	// Clock changes the times that files have.
	Clock func(time.Time) time.Time
}

// FS is a file system that is mounted.
type FS struct {
	options Options
	server  *fuse.Server

	mu       sync.Mutex
	fault    Fault
	counts   map[Operation]int
	happened bool
}

// Mount shows the directory dir at mountpoint.
func Mount(dir, mountpoint string, options Options) (*FS, error) {
	f := &FS{options: options, counts: make(map[Operation]int)}
	var info syscall.Stat_t
	if err := syscall.Stat(dir, &info); err != nil {
		return nil, err
	}
	root := &fs.LoopbackRoot{Path: dir, Dev: info.Dev}
	root.NewNode = func(root *fs.LoopbackRoot, _ *fs.Inode, _ string, _ *syscall.Stat_t) fs.InodeEmbedder {
		return &node{fs.LoopbackNode{RootData: root}, f}
	}
	var never time.Duration // nothing of what was said is remembered
	var err error
	f.server, err = fs.Mount(mountpoint, root.NewNode(root, nil, "", nil), &fs.Options{
		MountOptions: fuse.MountOptions{DirectMount: true, FsName: "faults", DisableXAttrs: true},
		EntryTimeout: &never, AttrTimeout: &never, NegativeTimeout: &never,
	})
	return f, err
}

// Unmount ends it.
func (f *FS) Unmount() error { return f.server.Unmount() }

// Arm begins to count anew, for a fault; of none if it is the zero value.
func (f *FS) Arm(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault, f.happened = fault, false
	clear(f.counts)
}

// Happened reports whether what Arm was told has come to be.
func (f *FS) Happened() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.happened
}

// Count returns how many operations of a kind there were since Arm.
func (f *FS) Count(o Operation) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts[o]
}

// fails counts an operation, and reports whether it is the one.
func (f *FS) fails(o Operation) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts[o]++
	n := f.counts[o]
	if f.fault.Operation != o || n != f.fault.N && (n < f.fault.N || !f.fault.Stays) {
		return false
	}
	f.happened = true
	return true
}

// do counts an operation, and returns the error that it ends with, or what does it.
func (f *FS) do(o Operation, it func() syscall.Errno) syscall.Errno {
	if f.fails(o) {
		return f.fault.Error
	}
	return it()
}

func (f *FS) show(attr *fuse.Attr) {
	if f.options.Clock != nil {
		t := f.options.Clock(attr.ModTime())
		attr.SetTimes(nil, &t, nil)
	}
}

type node struct {
	fs.LoopbackNode
	fsys *FS
}

func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (child *fs.Inode, errno syscall.Errno) {
	errno = n.fsys.do(Stat, func() syscall.Errno {
		child, errno = n.LoopbackNode.Lookup(ctx, name, out)
		n.fsys.show(&out.Attr)
		return errno
	})
	return child, errno
}

func (n *node) Getattr(ctx context.Context, f fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return n.fsys.do(Stat, func() syscall.Errno {
		errno := n.LoopbackNode.Getattr(ctx, f, out)
		n.fsys.show(&out.Attr)
		return errno
	})
}

// Statx is not there, so that Getattr is asked.
func (n *node) Statx(context.Context, fs.FileHandle, uint32, uint32, *fuse.StatxOut) syscall.Errno {
	return syscall.ENOSYS
}

func (n *node) Setattr(ctx context.Context, f fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	return n.fsys.do(SetAttr, func() syscall.Errno {
		errno := n.LoopbackNode.Setattr(ctx, f, in, out)
		n.fsys.show(&out.Attr)
		return errno
	})
}

func (n *node) OpendirHandle(ctx context.Context, flags uint32) (fh fs.FileHandle, _ uint32, errno syscall.Errno) {
	errno = n.fsys.do(List, func() syscall.Errno {
		fh, _, errno = n.LoopbackNode.OpendirHandle(ctx, flags)
		return errno
	})
	return fh, 0, errno
}

func (n *node) Open(ctx context.Context, flags uint32) (fh fs.FileHandle, fuseFlags uint32, errno syscall.Errno) {
	errno = n.fsys.do(Open, func() syscall.Errno {
		fh, _, errno = n.LoopbackNode.Open(ctx, flags)
		return errno
	})
	fh, fuseFlags = n.fsys.handle(fh, errno)
	return fh, fuseFlags, errno
}

func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (child *fs.Inode, fh fs.FileHandle, fuseFlags uint32, errno syscall.Errno) {
	errno = n.fsys.do(Create, func() syscall.Errno {
		child, fh, _, errno = n.LoopbackNode.Create(ctx, name, flags, mode, out)
		n.fsys.show(&out.Attr)
		return errno
	})
	fh, fuseFlags = n.fsys.handle(fh, errno)
	return child, fh, fuseFlags, errno
}

func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (child *fs.Inode, errno syscall.Errno) {
	errno = n.fsys.do(Mkdir, func() syscall.Errno {
		child, errno = n.LoopbackNode.Mkdir(ctx, name, mode, out)
		return errno
	})
	return child, errno
}

func (n *node) Link(ctx context.Context, target fs.InodeEmbedder, name string, out *fuse.EntryOut) (child *fs.Inode, errno syscall.Errno) {
	errno = n.fsys.do(Link, func() syscall.Errno {
		child, errno = n.LoopbackNode.Link(ctx, target, name, out)
		n.fsys.show(&out.Attr)
		return errno
	})
	return child, errno
}

func (n *node) Rename(ctx context.Context, name string, parent fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	return n.fsys.do(Rename, func() syscall.Errno { return n.LoopbackNode.Rename(ctx, name, parent, newName, flags) })
}

func (n *node) Unlink(ctx context.Context, name string) syscall.Errno {
	return n.fsys.do(Remove, func() syscall.Errno { return n.LoopbackNode.Unlink(ctx, name) })
}

func (n *node) Rmdir(ctx context.Context, name string) syscall.Errno {
	return n.fsys.do(Remove, func() syscall.Errno { return n.LoopbackNode.Rmdir(ctx, name) })
}

// CopyFileRange is left to reads and writes.
func (n *node) CopyFileRange(context.Context, fs.FileHandle, uint64, *fs.Inode, fs.FileHandle, uint64, uint64, uint64) (uint32, syscall.Errno) {
	return 0, syscall.ENOTSUP
}

// Fsync is of directories; files have their own.
func (n *node) Fsync(ctx context.Context, f fs.FileHandle, flags uint32) syscall.Errno {
	return n.fsys.do(Sync, func() syscall.Errno {
		if h, ok := f.(*handle); ok {
			return h.file.(fs.FileFsyncer).Fsync(ctx, flags)
		}
		return 0
	})
}

// handle is an open file.
type handle struct {
	fsys *FS
	file fs.FileHandle
}

func (f *FS) handle(file fs.FileHandle, errno syscall.Errno) (fs.FileHandle, uint32) {
	if errno != 0 {
		return nil, 0
	}
	var flags uint32
	if f.options.Direct {
		flags = fuse.FOPEN_DIRECT_IO
	}
	return &handle{f, file}, flags
}

func (h *handle) Read(ctx context.Context, dest []byte, off int64) (result fuse.ReadResult, errno syscall.Errno) {
	if h.fsys.fails(ShortRead) && len(dest) > 1 {
		dest = dest[:len(dest)/2]
	}
	errno = h.fsys.do(Read, func() syscall.Errno {
		result, errno = h.file.(fs.FileReader).Read(ctx, dest, off)
		return errno
	})
	return result, errno
}

func (h *handle) Write(ctx context.Context, data []byte, off int64) (n uint32, errno syscall.Errno) {
	errno = h.fsys.do(Write, func() syscall.Errno {
		n, errno = h.file.(fs.FileWriter).Write(ctx, data, off)
		return errno
	})
	return n, errno
}

func (h *handle) Flush(ctx context.Context) syscall.Errno {
	return h.fsys.do(Close, func() syscall.Errno { return h.file.(fs.FileFlusher).Flush(ctx) })
}

func (h *handle) Release(ctx context.Context) syscall.Errno {
	return h.file.(fs.FileReleaser).Release(ctx)
}

func (h *handle) Allocate(ctx context.Context, off, size uint64, mode uint32) syscall.Errno {
	return h.fsys.do(Allocate, func() syscall.Errno { return h.file.(fs.FileAllocater).Allocate(ctx, off, size, mode) })
}

func (h *handle) Getattr(ctx context.Context, out *fuse.AttrOut) syscall.Errno {
	return h.file.(fs.FileGetattrer).Getattr(ctx, out)
}

func (h *handle) Setattr(ctx context.Context, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	return h.file.(fs.FileSetattrer).Setattr(ctx, in, out)
}
