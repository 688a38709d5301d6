package testkit

import (
	"fmt"
	"syscall"
)

// The numbers by which Linux names file systems (statfs(2)).
var fileSystems = map[int64]string{0xef53: "ext4", 0x58465342: "xfs", 0x9123683e: "btrfs", 0x2fc12fc1: "zfs", 0xf2f52010: "f2fs",
	0x794c7630: "overlay", 0x01021994: "tmpfs", 0x858458f6: "ramfs", 0x6969: "nfs"}

func fileSystem(dir string) (name string, free int64, err error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return "", -1, err
	}
	kind := int64(uint32(s.Type))
	name, ok := fileSystems[kind]
	if !ok {
		name = fmt.Sprintf("file system %#x", kind)
	}
	return name, int64(s.Bavail) * int64(s.Bsize), nil
}
