package slowdisk

import (
	"context"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// node is a file or directory of a Disk.
type node struct {
	fs.LoopbackNode
	disk *Disk
}

func newRoot(path string, d *Disk) (fs.InodeEmbedder, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return nil, err
	}
	data := &fs.LoopbackRoot{Path: path, Dev: st.Dev}
	data.NewNode = func(data *fs.LoopbackRoot, _ *fs.Inode, _ string, _ *syscall.Stat_t) fs.InodeEmbedder {
		return &node{LoopbackNode: fs.LoopbackNode{RootData: data}, disk: d}
	}
	root := data.NewNode(data, nil, "", &st)
	data.RootNode = root
	return root, nil
}

// Open opens a file whose accesses suffer.
func (n *node) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	f, how, errno := n.LoopbackNode.Open(ctx, flags)
	return n.disk.file(f), how, errno
}

// Create is as Open, for a new file.
func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	inode, f, how, errno := n.LoopbackNode.Create(ctx, name, flags, mode, out)
	return inode, n.disk.file(f), how, errno
}

// file is an open file of a Disk.
type file struct {
	*fs.LoopbackFile
	disk *Disk
}

func (d *Disk) file(f fs.FileHandle) fs.FileHandle {
	if plain, ok := f.(*fs.LoopbackFile); ok && plain != nil {
		return &file{plain, d}
	}
	return f
}

// PassthroughFd keeps the kernel from going past us to the file behind.
func (f *file) PassthroughFd() (int, bool) { return 0, false }

func (f *file) Write(ctx context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	if errno := f.disk.suffer(Write); errno != 0 {
		return 0, errno
	}
	return f.LoopbackFile.Write(ctx, data, off)
}

func (f *file) Writev(ctx context.Context, data [][]byte, off int64) (uint32, syscall.Errno) {
	if errno := f.disk.suffer(Write); errno != 0 {
		return 0, errno
	}
	return f.LoopbackFile.Writev(ctx, data, off)
}

func (f *file) Allocate(ctx context.Context, off, size uint64, mode uint32) syscall.Errno {
	if errno := f.disk.suffer(Write); errno != 0 {
		return errno
	}
	return f.LoopbackFile.Allocate(ctx, off, size, mode)
}

// Fsync is also fdatasync.
func (f *file) Fsync(context.Context, uint32) syscall.Errno { return f.disk.suffer(Sync) }
