//! Small files become large ones while the stream goes on.
