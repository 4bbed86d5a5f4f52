const FILES: &[File] = &[];
