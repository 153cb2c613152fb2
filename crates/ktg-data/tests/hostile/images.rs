//! Image files.

use super::*;

/// A JPEG whose corners are black, dark, light and white, with an EXIF segment.
fn jpeg_with_exif(exif: &[u8]) -> Vec<u8> {
    let shade = |x, y| Luma([[0, 85, 170, 255][usize::from(x >= 16) + 2 * usize::from(y >= 8)]]);
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, 100).encode_image(&GrayImage::from_fn(32, 16, shade)).unwrap();
    let length = (2 + 6 + exif.len()) as u16;
    let segment = [&[0xFF, 0xE1], &length.to_be_bytes()[..], b"Exif\0\0", exif].concat();
    jpeg.splice(2..2, segment);
    jpeg
}

/// The EXIF data of a photo taken with the camera turned.
fn orientation(value: u8) -> Vec<u8> {
    // Big-endian, the directory at 8; one entry: tag 0x0112, of type 3, one value; no further directory.
    [b"MM\0\x2A\0\0\0\x08", &b"\0\x01\x01\x12\0\x03\0\0\0\x01"[..], &[0, value, 0, 0], &[0; 4]].concat()
}

#[test]
fn photos_are_turned_only_if_asked() {
    let folder = Folder::with_classes();
    let corners = |image: &Image| {
        let at = |x: usize, y: usize| (f32::from(image.pixels[(y * image.width + x) * image.channels]) / 85.0).round();
        let (right, bottom) = (image.width - 1, image.height - 1);
        [at(0, 0), at(right, 0), at(0, bottom), at(right, bottom)].map(|shade| shade as u8)
    };
    let stored = [0, 1, 2, 3];
    // Top left, top right, bottom left and bottom right of what was stored, as a viewer shows them.
    for (value, shown) in [
        (1, stored),
        (2, [1, 0, 3, 2]),
        (3, [3, 2, 1, 0]),
        (4, [2, 3, 0, 1]),
        (5, [0, 2, 1, 3]),
        (6, [2, 0, 3, 1]),
        (7, [3, 1, 2, 0]),
        (8, [1, 3, 0, 2]),
        (0, stored),
        (9, stored),
    ] {
        folder.write("train/cat/a.jpg", jpeg_with_exif(&orientation(value)));
        let open = |exif_orientation| {
            let splits = folder.open(&source_with("folder", json!({"exif_orientation": exif_orientation}))).unwrap();
            splits.train.image(0).unwrap()
        };
        for setting in [None, Some(false)] {
            assert_eq!((open(setting).width, corners(&open(setting))), (32, stored), "orientation {value}");
        }
        let turned = open(Some(true));
        assert_eq!(corners(&turned), shown, "orientation {value}");
        assert_eq!((turned.width, turned.height), if (5..=8).contains(&value) { (16, 32) } else { (32, 16) });
    }
}

#[test]
fn broken_exif_data_turns_nothing() {
    let folder = Folder::new();
    let whole = orientation(6);
    let broken = (0..whole.len() - 6).map(|length| whole[..length].to_vec()).chain([
        [&whole[..4], &[0xFF; 16]].concat(), // the directory is far away
        [&whole[..8], &[0xFF, 0xFF], &whole[10..]].concat()[..12].to_vec(), // many entries, cut off
        b"II\x2A\0\x08\0\0\0\x01\0\x12\x01\xFF\xFF\xFF\xFF\xFF\xFF\x06\0\0\0".to_vec(), // of an unknown type
    ]);
    for exif in broken {
        folder.write("a.jpg", jpeg_with_exif(&exif));
        let image = Image::read(&folder.path("a.jpg"), 1, true).unwrap();
        assert_eq!((image.width, image.height), (32, 16), "{exif:?}");
    }
}

#[test]
fn what_is_no_regular_file_is_refused() {
    let folder = Folder::with_classes();
    fifo(&folder.path("train/cat/pipe.jpg"));
    let socket = std::os::unix::net::UnixListener::bind(folder.path("train/cat/socket.jpg")).unwrap();
    symlink("/dev/zero", folder.path("train/cat/zero.jpg")).unwrap();
    for name in ["pipe.jpg", "socket.jpg", "zero.jpg"] {
        let error = folder.error_of_image(Path::new("train/cat").join(name));
        assert_has(&error, &[name, "not a regular file"]);
    }
    // A folder source leaves them out and says so.
    let splits = folder.open(&folders()).unwrap();
    assert_eq!(names(&splits.train), ["train/cat/a.png", "train/dog/b.png"]);
    assert_has(&splits.warnings[0], &["3 of the files", "no regular files", "pipe.jpg"]);
    // A list names them.
    folder.write("train.txt", "train/cat/a.png, 1\ntrain/cat/pipe.jpg, 0").write("test.txt", "test/cat/c.png, 0");
    let splits = folder.open(&source("list")).unwrap();
    assert_has(&splits.warnings[0], &["1 of the 2 files", "line 2"]);
    let problems = soon(move || check(&splits));
    assert_has(&problems[0], &["pipe.jpg", "not a regular file"]);
    drop(socket);
}

#[test]
fn a_folder_with_the_name_of_an_image_is_a_folder() {
    let folder = Folder::with_classes();
    folder.image("train/cat/deep.jpg/e.png", 7);
    let train = folder.open(&folders()).unwrap().train;
    assert_eq!(names(&train), ["train/cat/a.png", "train/cat/deep.jpg/e.png", "train/dog/b.png"]);
    assert_has(&folder.error_of_image("train/cat/deep.jpg"), &["deep.jpg"]);
}

#[test]
fn a_huge_file_is_not_read() {
    let folder = Folder::new();
    let file = fs::File::create(folder.path("a.jpg")).unwrap();
    file.set_len(1 << 40).unwrap(); // a hole: it takes no space
    assert_has(&folder.error_of_image("a.jpg"), &["a.jpg", "1048576 MiB", "at most 1024 MiB"]);
}
