file(APPEND ${CMAKE_BINARY_DIR}/told.txt "config\n")
