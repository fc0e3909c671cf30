"""Operations on the kernel as plain data, each with the command it equals."""
